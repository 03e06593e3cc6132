"""How many directions tell images apart better than their views: LiDAR."""

import numpy as np

from keras_convnextv2.analysis.spectrum import centred, eigenvalues, smooth_rank


def lidar(embeddings, delta=1e-4):
    """LiDAR: the smooth rank of what a linear discriminant of images by their views finds.

        S_b = mean over images of (m - m_all)(m - m_all)'
        S_w = mean over images and views of (e - m)(e - m)' + delta I
        p = eigenvalues of S_w^-1/2 S_b S_w^-1/2, over their sum;   exp(-sum_i p_i log p_i)

    m is the mean of an image's views. Unlike RankMe it does not count directions in which views of
    one image differ as much as images do. Source: LiDAR (arXiv 2312.04000), section 4; its small
    constant within the logarithm is left out, 0 log 0 being 0. It takes many images and views (the
    paper: 1,000 and 50); equal numbers alone compare. `delta` is in the units of the embeddings'
    squares.

    Args:
        embeddings: (N, q, d), of q views, such as random crops, of each of N images.
        delta: float above 0.

    Returns:
        float from 1 to min(N - 1, d); 0 where the means of all images are equal.

    Raises:
        ValueError: another rank, fewer than 2 images or views, values that are not finite, or a
            `delta` that is not positive.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import lidar
        >>> rng = np.random.default_rng(0)
        >>> images = rng.normal(size=(500, 1, 8)) * [1, 1, 1, 1, 0, 0, 0, 0]
        >>> round(lidar(images + 0.01 * rng.normal(size=(500, 10, 8))), 1)  # 4 of 8 are noise
        4.0
    """
    embeddings = np.asarray(embeddings, "float64")
    if embeddings.ndim != 3 or min(embeddings.shape[:2]) < 2 or not embeddings.shape[2]:
        raise ValueError(
            f"Embeddings must be (N, q, d), N and q 2 or more. Received: shape {embeddings.shape}"
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("Embeddings hold NaN or infinite values. Look at the weights.")
    if not delta > 0:
        raise ValueError(f"`delta` must be positive. Received: {delta!r}")
    means = embeddings.mean(axis=1)  # (N, d)
    within = (embeddings - means[:, None]).reshape(-1, means.shape[1])
    scatter = within.T @ within / len(within) + delta * np.eye(means.shape[1])
    # S_w = LL': the eigenvalues are those of the covariance of L^-1 m.
    whitened = np.linalg.solve(np.linalg.cholesky(scatter), centred(means).T).T
    values = eigenvalues(whitened)
    return 0.0 if values[0] == 0 else smooth_rank(values / values.sum())
