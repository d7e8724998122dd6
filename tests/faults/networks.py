"""A network whose graphs hold many operators."""

from torch import Tensor, nn


class Convolutional(nn.Module):
    """Images, (batch, 1, 8, 8) -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.GELU(), nn.AvgPool2d(2), nn.Flatten()
        )
        self.squeeze = nn.Sequential(nn.Linear(64, 6), nn.Softplus())
        self.decoder = nn.Sequential(
            nn.Linear(6, 64),
            nn.Unflatten(1, (4, 4, 4)),
            nn.Upsample(scale_factor=2),
            nn.ConvTranspose2d(4, 1, 3, padding=1),
        )

    def encode(self, images: Tensor) -> Tensor:
        """(batch, 1, 8, 8) -> (batch, 6)."""
        return self.squeeze(self.encoder(images))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and reconstruction."""
        embedding = self.encode(images)
        return embedding, self.decoder(embedding)
