// Android: implementation("com.microsoft.onnxruntime:onnxruntime-android:1.30.0"); detector.ort lies in assets.
// Not compiled where it was written.
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import android.content.Context
import java.nio.FloatBuffer

class Detector(context: Context) : AutoCloseable {
    data class Verdict(val score: Float, val isAnomaly: Boolean)

    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(context.assets.open("detector.ort").use { it.readBytes() })

    /** One row of {{width}} numbers in raw units; Float.NaN is a missing value. */
    fun detect(row: FloatArray): Verdict {
        require(row.size == {{width}}) { "{{width}} values expected, found ${row.size}" }
        val shape = session.inputInfo.getValue("features").info.let { (it as ai.onnxruntime.TensorInfo).shape }
        shape[0] = 1
        OnnxTensor.createTensor(environment, FloatBuffer.wrap(row), shape).use { features ->
            session.run(mapOf("features" to features)).use { outputs ->
                val score = (outputs["score"].get().value as FloatArray)[0]
                val isAnomaly = (outputs["is_anomaly"].get().value as BooleanArray)[0]
                return Verdict(score, isAnomaly)
            }
        }
    }

    override fun close() = session.close()
}
