"""The history of what hosts write themselves: rows through the ORM, and its statements for many rows.

The services say what they do better than rows can; what they write is not recorded a second time.
"""
