"""Read a site from the web into a folder of HTML: bounded, polite, never inside the network."""
