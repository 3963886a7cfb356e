"""Where programs written for ONNX Runtime look for its inner modules."""
