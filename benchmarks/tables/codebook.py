"""Perplexity of a codebook of 512 codes on photographs: CIFAR-10, the 10,000 training images of the data folder.

    python benchmarks/tables/codebook.py [--minutes 2]

The library's own VQ-VAE on 32 x 32 x 3 pixels: 8 x 8 codes an image, a codebook of moving averages with restarts. The
perplexity is that of the codes of the 1,000 test images. The published figures are of the full 50,000 images.

Published: VQ-VAE 69.8, SQ-VAE 434.8 (Takida et al., 2022).
"""

from __future__ import annotations

from _row import arguments, fit, images, store_row


def run() -> None:
    options = arguments(minutes=2.0, seed=0)
    import torch

    from latentkit import VQVAE
    from latentkit.evaluation import codebook_perplexity, psnr

    data = images("cifar10_subset")
    settings = {"n_codes": 512, "learning_rate": 3e-3}
    vqvae = VQVAE(max_time=60 * options.minutes, random_state=options.seed, verbose=1, **settings)
    vqvae, seconds = fit(vqvae, data["x_train"])
    test = data["x_test"]
    rebuilt = vqvae.reconstruct(test)
    pixels, again = (torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 for x in (test, rebuilt))
    figures = {
        "test_perplexity": round(codebook_perplexity(torch.as_tensor(vqvae.codes(test)), 512), 1),
        "train_perplexity": round(vqvae.perplexity_, 1),
        "codes_an_image": list(vqvae.grid_),
        "test_psnr_db": round(float(psnr(again, pixels).mean()), 2),
        "training_seconds": seconds,
        "epochs": vqvae.n_iter_,
        "engine": vqvae.engine_.summary(),
        "settings": settings,
    }
    store_row(figures, seed=options.seed)


if __name__ == "__main__":
    run()
