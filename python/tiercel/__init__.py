"""tiercel: an inference runtime for ONNX models with ONNX Runtime's own API."""
