"""What an app embeds: a bundle run on onnxruntime, without PyTorch."""
