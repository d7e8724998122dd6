"""One file per command; `infer_stream` runs those of `infer` over files bigger than memory."""
