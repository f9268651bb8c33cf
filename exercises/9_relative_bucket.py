"""T5's buckets of distances, in a decoder (chapter 13; Raffel et al. 2020, section 2.1).

distance: how many tokens to the left the key is, an int of at least 0.

    below 16      a bucket for each distance: 0 to 15
    from 16 on    the buckets 16 to 31 divide the range from 16 to 128 on a logarithmic scale:
                  bucket 16 + floor(16 ln(distance / 16) / ln(128 / 16))
    far           everything else is in the last bucket, 31

Return the bucket, an int.
"""


def relative_bucket(distance):
    raise NotImplementedError
