"""From images anywhere to uint8 shards: sources, ingest, preprocess, dataset."""
