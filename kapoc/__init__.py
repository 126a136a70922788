"""kapoc: did fine-tuning teach this model new facts, can it use them, and what did it forget?"""

__version__ = "0.1.0"
