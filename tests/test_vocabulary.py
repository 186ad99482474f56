"""The vocabulary of a decoder: resized, and replaced by another tokenizer's, with the vectors of what both have."""

import copy

import pytest
import tokenizers
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors

from tests.parity import assert_within, images
from tests.test_training_mode import BERT_LIKE, DECODERS, ENCODERS, both
from vedcore import ConfigError, GenerationConfig, Tokenizer, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.vocabulary import tokenizer_report
from vedcore_plugin_bert import BertConfig
from vedcore_plugin_distilbert import DistilBertConfig
from vedcore_plugin_trocr import TrOCRConfig
from vedcore_plugin_vit import ViTConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

SMALL = {**BERT_LIKE, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
VIT = {**ENCODERS["vit"][1], "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def words(*pieces, **special):
    """A tokenizer of whole words, whose ids are their places; ``special`` are roles and their pieces."""
    unknown = special.get("unk_token", pieces[0])
    core = tokenizers.Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token=unknown))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(core.to_str().encode(), special)


OLD = words(
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e"),
    pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
)  # fmt: skip
NEW = words(
    *("<s>", "<pad>", "</s>", "<unk>", "x", "c", "a", "y", "[PAD]", "z"),
    bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
)  # fmt: skip


def bert(size, **fields):
    torch.manual_seed(0)
    config = VisionEncoderDecoderConfig(
        encoder=ViTConfig(**VIT),
        decoder=BertConfig(**{**SMALL, "vocab_size": size, **fields}),
        decoder_start_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    model = VisionEncoderDecoderModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


NINE = bert(9)


def logits(model, ids):
    with torch.no_grad():
        return model(pixel_values=images(model, len(ids)), decoder_input_ids=ids).logits


def assert_transformers_agrees(model, folder, ids):
    model.save_pretrained(folder)
    theirs, info = transformers.VisionEncoderDecoderModel.from_pretrained(folder, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert all("pooler" in key for key in info["missing_keys"])
    again = VisionEncoderDecoderModel.from_pretrained(folder)
    assert torch.equal(logits(again, ids), logits(model, ids))
    assert_within(logits(model, ids), logits(theirs, ids))


# Another size.


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("decoder", DECODERS)
def test_more_tokens_leave_the_others_their_logits(decoder, tied, tmp_path):
    kind, fields = DECODERS[decoder]
    _, model = both(ENCODERS["vit"], (kind, {**fields, "tie_word_embeddings": tied}))
    model.eval().decoder.token_embedding.weight.requires_grad_(False)
    ids = torch.randint(3, 21, (2, 4))
    before = logits(model, ids)
    embedding = model.resize_token_embeddings(30, seed=1)
    after = logits(model, ids)
    assert_within(after[..., :21], before)
    assert embedding is model.decoder.token_embedding
    assert (
        embedding.weight.shape[0]
        == model.config.decoder.vocab_size
        == model.decoder.sizes.vocab_size
        == after.shape[-1]
        == 30
    )
    assert embedding.num_embeddings == 30
    assert not embedding.weight.requires_grad
    shared = [p for p in model.decoder.lm_head.parameters() if p is embedding.weight]
    assert bool(shared) == tied
    assert 0 < embedding.weight[21:].std() < 0.1
    assert_transformers_agrees(model, tmp_path, torch.randint(3, 30, (2, 4)))


@given(st.integers(4, 9), st.integers(9, 40), st.integers(0, 9))
def test_a_size_and_back_changes_nothing_and_new_rows_follow_from_the_seed(less, more, seed):
    model, twin = copy.deepcopy(NINE), copy.deepcopy(NINE)
    ids = torch.tensor([[2, 3, 1]])
    whole = logits(model, ids)
    for each in (model, twin):
        each.resize_token_embeddings(more, seed=seed)
    assert torch.equal(model.decoder.token_embedding.weight, twin.decoder.token_embedding.weight)
    model.resize_token_embeddings(9)
    assert torch.equal(logits(model, ids), whole)
    model.resize_token_embeddings(less)
    assert_within(logits(model, ids), whole[..., :less])


def test_a_vocabulary_too_small_for_its_ids_is_refused_whole():
    model = bert(9)
    with pytest.raises(
        ConfigError, match=r"3 tokens has no place for model\.config\.eos_token_id, which is 3"
    ) as error:
        model.resize_token_embeddings(3)
    assert (error.value.field, error.value.expected, error.value.found) == ("eos_token_id", "an id below 3", 3)
    assert model.decoder.sizes.vocab_size == model.config.decoder.vocab_size == 9


def test_an_untrained_table_is_untrained_at_another_size_too():
    config = VisionEncoderDecoderConfig(encoder=ViTConfig(**VIT), decoder=BertConfig(**SMALL))
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
        encoder_config=config.encoder, decoder_config=config.decoder, seed=0
    )
    before = model.untrained
    model.resize_token_embeddings(40)
    assert model.untrained == before
    model.resize_token_embeddings(41, seed=2)
    with torch.no_grad():
        model.decoder.token_embedding.weight.add_(1)
    model.resize_token_embeddings(42)
    assert set(before) - set(model.untrained) == {"decoder.embeddings.tokens.weight"}


# Another tokenizer.


def test_pieces_keep_their_vectors_and_special_tokens_go_by_their_role(tmp_path):
    model = bert(9)
    table, bias = (
        model.decoder.token_embedding.weight.detach().clone(),
        model.decoder.lm_head.decoder.bias.detach().clone(),
    )
    positions = model.decoder.embeddings.positions.weight.detach().clone()
    report = model.replace_tokenizer(OLD, NEW, seed=0)
    assert (report.kept, report.new, report.dropped, report.unset) == (7, 3, 3, ())
    found = model.decoder.token_embedding.weight
    came_from = {0: 2, 1: 0, 2: 3, 3: 1, 5: 6, 6: 4, 8: 0}
    for new, old in came_from.items():
        assert torch.equal(found[new], table[old])
        assert model.decoder.lm_head.decoder.bias[new] == bias[old]
    assert not model.decoder.lm_head.decoder.bias[[4, 7, 9]].any()
    assert model.decoder.lm_head.decoder.weight is found
    assert torch.equal(model.decoder.embeddings.positions.weight, positions)
    config = model.config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (0, 2, 1)
    assert (config.decoder.vocab_size, config.decoder.pad_token_id, config.bos_token_id) == (10, 1, 0)
    assert model.decoder.token_embedding.padding_idx == 1
    assert_transformers_agrees(model, tmp_path, torch.tensor([[0, 5, 6, 9]]))
    back = model.replace_tokenizer(NEW, OLD)
    assert (back.kept, back.new, back.dropped) == (6, 3, 4)
    assert torch.equal(model.decoder.token_embedding.weight[[2, 3, 1, 6, 4]], table[[2, 3, 1, 6, 4]])


def test_a_new_vocabulary_of_5000_pieces_keeps_what_is_shared_and_trains_on(tmp_path):
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    old = words(*special.values(), *(f"old{i}" for i in range(1500)), *(f"w{i}" for i in range(1500)), **special)
    new = words(
        *(f"new{i}" for i in range(3496)), *(f"w{i}" for i in range(1499, -1, -1)), *special.values(), **special
    )
    model = bert(len(old))
    table = model.decoder.token_embedding.weight.detach().clone()
    report = model.replace_tokenizer(old, new, seed=0)
    assert (report.kept, report.new, report.dropped) == (1504, 3496, 1500)
    pieces = [f"w{i}" for i in range(1500)] + list(special.values())
    found = model.decoder.token_embedding.weight
    assert torch.equal(found[new.convert_tokens_to_ids(pieces)], table[old.convert_tokens_to_ids(pieces)])
    labels = torch.cat([torch.randint(0, 4996, (3, 5)), torch.full((3, 1), new.sep_token_id)], dim=1)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(pixel_values=images(model, 3), labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1
    assert_transformers_agrees(model.eval(), tmp_path, labels)


@pytest.mark.parametrize("decoder", ["gpt2", "bart", "mbart", "trocr"])
def test_every_decoder_takes_another_vocabulary(decoder, tmp_path):
    """Ids 0, 1, 2 are padding, begin and end in these decoders."""
    _, model = both(ENCODERS["vit"], DECODERS[decoder])
    old = words("<p>", "<b>", "<e>", *"abcdefghijklmnopqr", pad_token="<p>", bos_token="<b>", eos_token="<e>")
    table = model.eval().decoder.token_embedding.weight.detach().clone()
    report = model.replace_tokenizer(old, NEW)
    assert (report.kept, report.new) == (5, 5)
    assert torch.equal(model.decoder.token_embedding.weight[[0, 1, 2, 5, 6]], table[[1, 0, 2, 5, 3]])
    assert (model.config.decoder_start_token_id, model.config.eos_token_id, model.config.pad_token_id) == (0, 2, 1)
    assert_transformers_agrees(model, tmp_path, torch.tensor([[0, 5, 6, 9]]))


def test_a_decoder_that_is_given_cross_attention_takes_another_vocabulary():
    decoder = DistilBertConfig(vocab_size=9, dim=16, n_layers=1, n_heads=2, hidden_dim=20, max_position_embeddings=8)
    config = VisionEncoderDecoderConfig(
        encoder=ViTConfig(**VIT), decoder=decoder, decoder_start_token_id=2, eos_token_id=3, pad_token_id=0
    )
    model = VisionEncoderDecoderModel(config).eval()
    assert model.replace_tokenizer(OLD, NEW).kept == 7
    assert model.generate(images(model, 1), max_new_tokens=3).max() < 10


def test_positions_counted_from_the_padding_id_are_not_moved():
    _, model = both(ENCODERS["vit"], DECODERS["roberta"])
    model.config.decoder_start_token_id, model.config.eos_token_id = 2, 3
    with pytest.raises(
        ConfigError, match=r"RobertaForCausalLM counts its positions from its padding id, 0.*at 0"
    ) as error:
        model.replace_tokenizer(OLD, NEW)
    assert (error.value.field, error.value.expected) == ("pad_token_id", 0)
    assert model.config.eos_token_id == 3
    assert model.decoder.sizes.vocab_size == 21
    same = words("<pad>", "q", "</s>", "<s>", pad_token="<pad>", eos_token="</s>", bos_token="<s>")
    assert model.replace_tokenizer(OLD, same).kept == 3


def test_sinusoids_are_counted_from_the_new_padding_id(tmp_path):
    torch.manual_seed(0)
    decoder = TrOCRConfig(
        vocab_size=9, d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=20, pad_token_id=0,
        max_position_embeddings=8, use_learned_position_embeddings=False, cross_attention_hidden_size=16,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig(
        encoder=ViTConfig(**VIT), decoder=decoder, decoder_start_token_id=2, eos_token_id=3, pad_token_id=0
    )
    model = VisionEncoderDecoderModel(config).eval()
    assert model.replace_tokenizer(OLD, NEW).kept == 7
    model.save_pretrained(tmp_path)
    ids = torch.tensor([[0, 5, 1, 6]])
    assert torch.equal(logits(VisionEncoderDecoderModel.from_pretrained(tmp_path), ids), logits(model, ids))


def test_a_generation_config_speaks_the_new_vocabulary():
    model = bert(9)
    model.generation_config = GenerationConfig(
        num_beams=2, eos_token_id=3, forced_eos_token_id=3, suppress_tokens=[4, 6],
        bad_words_ids=[[5]], sequence_bias=[[[4, 6], 2.0]],
    )  # fmt: skip
    report = model.replace_tokenizer(OLD, NEW)
    config = model.generation_config
    assert (config.num_beams, config.eos_token_id, config.forced_eos_token_id) == (2, None, 2)
    assert (config.suppress_tokens, config.sequence_bias) == ((6, 5), (((6, 5), 2.0),))
    assert config.bad_words_ids is None
    assert report.unset == ("bad_words_ids",)


def test_vocabularies_that_share_nothing_are_untrained():
    model = bert(9)
    model.config.decoder_start_token_id = model.config.eos_token_id = model.config.pad_token_id = None
    report = model.replace_tokenizer(words(*"abcdefghi"), words(*"jklmnopqrstu"))
    assert (report.kept, report.new, report.dropped) == (0, 12, 9)
    assert "decoder.embeddings.tokens.weight" in model.untrained


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            words(*map(str, range(10))),
            NEW,
            "ids up to 9, but the decoder's vocabulary has 9 tokens: it is not the decoder's tokenizer",
        ),
        (OLD, words("a", "b", "<s>", bos_token="<s>"), r"eos_token_id is 3.*set one \(tokenizer\.eos_token = \.\.\.\)"),
    ],
)
def test_tokenizers_that_do_not_fit_change_nothing(old, new, message):
    model = bert(9)
    whole = logits(model, torch.tensor([[2, 5]]))
    with pytest.raises(ConfigError, match=message):
        model.replace_tokenizer(old, new)
    assert torch.equal(logits(model, torch.tensor([[2, 5]])), whole)
    assert model.config.decoder_start_token_id == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (None, NEW, "the old tokenizer must be a vedcore.Tokenizer.*got NoneType"),
        (OLD, "bert", "the new tokenizer must be a vedcore.Tokenizer.*got str"),
    ],
)
def test_another_object_than_a_tokenizer_is_refused(old, new, message):
    with pytest.raises(ConfigError, match=message):
        bert(9).replace_tokenizer(old, new)


@pytest.mark.parametrize("size", ["10", None, 10.0, True, 0, -1, [10]])
def test_a_vocabulary_is_a_whole_number_of_tokens(size):
    model = bert(9)
    model.config.decoder_start_token_id = model.config.eos_token_id = model.config.pad_token_id = None
    with pytest.raises(ConfigError, match="a whole number of tokens, at least 1, got") as raised:
        model.resize_token_embeddings(size)
    assert repr(size) in str(raised.value)
    assert (raised.value.field, raised.value.found) == ("vocab_size", size)
    assert model.decoder.sizes.vocab_size == 9


@pytest.mark.parametrize("size", [10**14, 10**19, 10**30])
def test_a_vocabulary_larger_than_memory_is_refused_before_it_is_made(size):
    with pytest.raises(
        ConfigError, match=rf"{size} tokens of 16 numbers takes \d+ GiB.*this machine has \d+: ask for fewer"
    ):
        NINE.resize_token_embeddings(size)


def test_tables_for_which_memory_runs_out_leave_the_model_as_it_was(monkeypatch):
    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    model = bert(9)
    monkeypatch.setattr("vedcore.model.vocabulary._with_rows", full)
    with pytest.raises(ConfigError, match=r"a decoder of 12 tokens: .*can't allocate"):
        model.resize_token_embeddings(12)
    assert model.decoder.sizes.vocab_size == model.config.vocab_size == 9
    assert len(model.decoder.token_embedding.weight) == 9


# A sample of text.


def test_a_report_counts_what_is_unknown_what_is_lost_and_how_long_lines_are():
    core = tokenizers.Tokenizer(models.WordLevel({"?": 0, "a": 1, "b": 2, "<s>": 3}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 3)])
    tokenizer = Tokenizer(core.to_str().encode(), {"unk_token": "?", "bos_token": "<s>"})
    report = tokenizer_report(tokenizer, ["ab", "aZ", "ZaYZ b"])
    assert (report.lines, report.tokens, report.longest) == (3, 10, 7)
    assert report.unknown_rate == 0.5
    assert report.lost == {"Z": 3, "Y": 1}
    assert report.mean == pytest.approx((3 + 3 + 7) / 3)
    assert report.p95 == pytest.approx(3 + 0.9 * 4)


def test_a_report_on_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one line"):
        tokenizer_report(OLD, [])
