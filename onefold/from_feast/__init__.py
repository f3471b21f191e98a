"""Coming from Feast: a repository's views as Onefold definitions, and what of it cannot be taken over.

`reading` runs the repository's own code, in a process of its own with Feast; `writing` makes files of what it found.
"""
