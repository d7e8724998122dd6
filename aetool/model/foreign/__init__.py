"""Other people's modules as autoencoders.

Read in this order: `user_code` (a module from a file or package, and its weights), `output_roles` (embedding
and reconstruction among a module's outputs), `adapter` (one forward that gives both), `scored_module` (scaling
and score around it). `pyod` reads fitted PyOD detectors. Other rooms import these modules.
"""

__all__ = ["adapter", "output_roles", "pyod", "scored_module", "user_code"]
