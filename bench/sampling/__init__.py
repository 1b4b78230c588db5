"""Samplers: `hf` (this process), `vllm` (an engine)."""
