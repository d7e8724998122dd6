// iOS: the Swift package onnxruntime-swift-package-manager; detector.ort lies in the app's bundle.
// Not compiled where it was written.
import Foundation
import OnnxRuntimeBindings

final class Detector {
    private let environment: ORTEnv
    private let session: ORTSession
    private let shape: [NSNumber]

    /// - Parameter rowShape: of one row, `input_shape` in manifest.json.
    init(rowShape: [Int]) throws {
        guard let path = Bundle.main.path(forResource: "detector", ofType: "ort") else {
            throw CocoaError(.fileNoSuchFile)
        }
        environment = try ORTEnv(loggingLevel: .warning)
        session = try ORTSession(env: environment, modelPath: path, sessionOptions: nil)
        shape = ([1] + rowShape).map { NSNumber(value: $0) }
    }

    /// One row of {{width}} numbers in raw units; `.nan` is a missing value.
    func detect(_ row: [Float]) throws -> (score: Float, isAnomaly: Bool) {
        precondition(row.count == {{width}})
        let data = row.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress!, length: $0.count) }
        let features = try ORTValue(tensorData: data, elementType: .float, shape: shape)
        let outputs = try session.run(
            withInputs: ["features": features], outputNames: ["score", "is_anomaly"], runOptions: nil)
        let score = try outputs["score"]!.tensorData() as Data
        let isAnomaly = try outputs["is_anomaly"]!.tensorData() as Data
        return (score.withUnsafeBytes { $0.load(as: Float.self) }, isAnomaly[0] != 0)
    }
}
