"""Drawn chest radiographs: `film.draw_film` turns a key and findings into uint8 pixels. Knows no table."""
