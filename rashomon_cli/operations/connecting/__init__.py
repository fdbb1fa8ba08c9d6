"""How ``connect`` joins models: bends, hubs, simplices, graphs, and paths that are put together."""
