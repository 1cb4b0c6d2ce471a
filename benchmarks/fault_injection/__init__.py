"""What is damaged, and what is then expected. A module per kind of damage, each with the same one function:

`outcomes(folder, number, seed)` makes its inputs in an empty folder, damages them `number` times, the same way for the
same seed, and yields an `Outcome` for each try.
"""
