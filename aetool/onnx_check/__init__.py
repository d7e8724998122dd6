"""Is this graph safe? Checked on the bytes of an ONNX file, before onnxruntime parses them."""
