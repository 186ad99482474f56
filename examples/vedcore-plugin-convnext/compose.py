"""Join a small ConvNeXt and a small GPT-2, train them to tell a red image from a blue one, and generate text."""

import torch
from PIL import Image

from vedcore import ImageProcessor, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore_plugin_convnext import ConvNextConfig
from vedcore_plugin_gpt2 import GPT2Config

START, END, PAD = 1, 2, 0

processor = ImageProcessor(  # resize to a little more than the model takes, then crop, as in the evaluation of ConvNeXt
    size={"shortest_edge": 36},
    do_center_crop=True,
    crop_size={"height": 32, "width": 32},
    resample=3,
    image_mean=(0.485, 0.456, 0.406),
    image_std=(0.229, 0.224, 0.225),
)

config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
    ConvNextConfig(num_stages=2, hidden_sizes=(16, 32), depths=(1, 1), image_size=32, layer_scale_init_value=1.0),
    GPT2Config(vocab_size=20, n_positions=8, n_embd=48, n_layer=2, n_head=4),
    decoder_start_token_id=START,
    eos_token_id=END,
    pad_token_id=PAD,
)

torch.manual_seed(0)
model = VisionEncoderDecoderModel(config).train()
images = [Image.new("RGB", (48, 40), colour) for colour in ("red", "blue")]
pixel_values = processor(images, return_tensors="pt").pixel_values
labels = torch.tensor([[11, 12, END, -100], [13, 14, 15, END]])

optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(60):
    loss = model(pixel_values=pixel_values, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

model.eval()
print(model.generate(pixel_values, max_new_tokens=6).tolist())
model.save_pretrained("red-or-blue")
processor.save_pretrained("red-or-blue")
again = VisionEncoderDecoderModel.from_pretrained("red-or-blue")
print(again.generate(pixel_values, max_new_tokens=6, num_beams=2).tolist())
