// C#: dotnet add package Microsoft.ML.OnnxRuntime. Not compiled where it was written.
using System;
using System.Linq;
using Microsoft.ML.OnnxRuntime;

public sealed class Detector : IDisposable
{
    private readonly InferenceSession session;
    private readonly long[] shape;

    public Detector(string path = "detector.ort")
    {
        session = new InferenceSession(path);
        shape = session.InputMetadata["features"].Dimensions.Select(size => (long)Math.Max(size, 1)).ToArray();
    }

    /// <summary>One row of {{width}} numbers in raw units; float.NaN is a missing value.</summary>
    public (float Score, bool IsAnomaly) Detect(float[] row)
    {
        using var features = OrtValue.CreateTensorValueFromMemory(row, shape);
        using var options = new RunOptions();
        using var outputs = session.Run(options, new[] { "features" }, new[] { features }, new[] { "score", "is_anomaly" });
        return (outputs[0].GetTensorDataAsSpan<float>()[0], outputs[1].GetTensorDataAsSpan<bool>()[0]);
    }

    public void Dispose() => session.Dispose();
}
