"""FCMAE in plain PyTorch with dense masking, as other re-implementations write it.

A peer that tools.benchmark times beside this library; nothing here is used for training. The
whole map is computed: features are multiplied by the mask before and after each depthwise
convolution, and GRN sums over visible positions.
"""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """x (B, C, H, W), visible (B, 1, H, W) or None -> (B, C, H, W)."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.gamma = nn.Parameter(torch.zeros(4 * width))
        self.beta = nn.Parameter(torch.zeros(4 * width))
        self.project = nn.Linear(4 * width, width)

    def forward(self, x, visible=None):
        branch = x if visible is None else x * visible
        branch = self.depthwise(branch)
        branch = branch if visible is None else branch * visible
        branch = functional.gelu(self.expand(self.norm(branch.permute(0, 2, 3, 1))))
        seen = branch if visible is None else branch * visible.permute(0, 2, 3, 1)
        norm = torch.linalg.vector_norm(seen, dim=(1, 2), keepdim=True)
        response = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
        branch = self.gamma * (branch * response) + self.beta + branch
        return x + self.project(branch).permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PlainFCMAE(nn.Module):
    """images (B, C, H, W), hidden (B, h, w), 1 = hidden -> the loss."""

    def __init__(self, depths, widths, channels=3, decoder_width=512):
        super().__init__()
        self.patch_size = 32
        stem = nn.Sequential(nn.Conv2d(channels, widths[0], 4, 4), ChannelNorm(widths[0], eps=1e-6))
        self.downsamples = nn.ModuleList([stem])
        for before, width in zip(widths[:-1], widths[1:], strict=True):
            norm = ChannelNorm(before, eps=1e-6)
            self.downsamples.append(nn.Sequential(norm, nn.Conv2d(before, width, 2, 2)))
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(width) for _ in range(depth))
            for depth, width in zip(depths, widths, strict=True)
        )
        self.to_decoder = nn.Conv2d(widths[-1], decoder_width, 1)
        self.mask_token = nn.Parameter(torch.zeros(1, decoder_width, 1, 1))
        self.decoder = Block(decoder_width)
        self.predict = nn.Conv2d(decoder_width, self.patch_size**2 * channels, 1)

    def forward(self, images, hidden):
        visible = (1 - hidden).unsqueeze(1).to(images.dtype)  # (B, 1, h, w)
        x = images
        for downsample, blocks in zip(self.downsamples, self.stages, strict=True):
            x = downsample(x)
            fine = functional.interpolate(visible, size=x.shape[2:], mode="nearest")
            for block in blocks:
                x = block(x, fine)
        x = self.to_decoder(x) * visible + self.mask_token * (1 - visible)
        prediction = self.predict(self.decoder(x)).permute(0, 2, 3, 1)  # (B, h, w, P * P * C)

        batch, channels, height, width = images.shape
        side = self.patch_size
        patches = images.reshape(batch, channels, height // side, side, width // side, side)
        patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(3)  # (B, h, w, P * P * C)
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        targets = (patches - mean) / torch.sqrt(variance + 1e-6)
        errors = (prediction.float() - targets).square().mean(dim=-1)
        return (errors * hidden).sum() / hidden.sum()


def draw_hidden(batch, rows, columns, num_visible):
    """int64 (B, h, w), 1 = hidden, `num_visible` zeros an image."""
    order = torch.rand(batch, rows * columns).argsort(dim=1)
    hidden = torch.ones(batch, rows * columns, dtype=torch.int64)
    return hidden.scatter(1, order[:, :num_visible], 0).reshape(batch, rows, columns)
