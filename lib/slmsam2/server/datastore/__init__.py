"""Where images and labels lie: a folder or a PACS, made safe."""
