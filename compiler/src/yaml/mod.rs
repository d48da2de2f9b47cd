//! YAML with byte spans.
