"""How ``probe`` carries out its quantities, point by point and beside other models."""
