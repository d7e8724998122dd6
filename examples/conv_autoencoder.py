"""A convolutional autoencoder, for `aetool export --module examples/conv_autoencoder.py:ConvAutoencoder`."""

from torch import Tensor, nn


class ConvAutoencoder(nn.Module):
    """Images of one channel, 16x16: (batch, 1, 16, 16) -> the same; 8 numbers in between."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),  # (batch, 8, 8, 8)
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(512, 8),
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 512),
            nn.ReLU(),
            nn.Unflatten(1, (8, 8, 8)),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """The reconstruction; aetool finds `encoder` and `decoder` by their names."""
        return self.decoder(self.encoder(images))
