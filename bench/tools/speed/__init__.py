"""`evenbench speed`: our training step beside TRL's on the same work, and how both grow.

One of TRL's trainers runs. After each of its steps ours takes one, so that other load on the
machine slows both alike. Model, prompts, rows, optimiser and threads are the same. TRL's time is
everything between the end of our step and the end of its own. The floor is the time that the
counted FLOPs take at the rate of this machine's matrix products: torch's, and the fastest known.
"""
