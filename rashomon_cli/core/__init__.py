"""What every layer may import: errors, result types, options, specifications. No torch here."""
