"""The networks of five published tutorials, as the presets article-* train them."""
