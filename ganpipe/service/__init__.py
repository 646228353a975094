"""A generator as an HTTP service: a page, images on request, and always the champion's."""
