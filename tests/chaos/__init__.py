"""`make chaos`: faults from a seeded plan against the whole running stack, judged by the sandbox's books.

What does not live here: the sandbox's own faults (sandbox/faults.py), and anything that knows the product's code;
the stack is spoken to over HTTP alone, and its processes are started, killed and frozen from outside.
"""
