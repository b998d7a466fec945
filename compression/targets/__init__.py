"""What executes an artifact beside ONNX Runtime; each in a process of its own."""
