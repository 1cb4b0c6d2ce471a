"""The xecgnn-* commands."""
