"""Random texts of 1 to 40 characters of ``alphabet.py``, without spaces at the ends and without two spaces in a row.

``KINDS`` has the kinds of texts; all random choices come from ``chance``. Templates use four marks:
``9`` is a digit from 1 to 9, ``#`` any digit, ``?`` a capital letter and ``!`` a small letter.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random

from render_lines.alphabet import ALPHABET, LETTERS, LONGEST, PRINTABLE, QUOTES, SIGNS
from render_lines.corpus import LANGUAGES, read_lines

PHONES = (
    "+49 ### #######", "+49 (#) ### #####", "0### ######", "0### ## ## ##", "0##/#######", "+33 9 ## ## ## ##",
    "0# ## ## ## ##", "+34 9## ### ###", "9## ## ## ##", "9## ### ###", "+39 0# #### ####", "3## ### ####",
    "3## #######", "+351 9## ### ###", "2## ### ###", "+44 20 #### ####", "+44 #### ######", "0## #### ####",
    "0#### ######", "(0####) ######", "+1 (9##) ###-####", "(9##) ###-####", "9##-###-####", "9##.###.####",
    "+1 9## ### ####", "+41 ## ### ## ##", "0## ### ## ##", "+43 # ### ## ##", "0664 ### ## ##", "+46 8 ### ### ##",
    "08-### ### ##", "+45 ## ## ## ##", "## ## ## ##", "+47 ### ## ###", "### ## ###", "+31 ## ### ## ##",
    "+32 # ### ## ##", "+352 ## ## ##", "+353 # ### ####", "00## ### ######", "+## ## ########", "0800 ### ####",
    "0800 ### ## ##", "112", "116 ###", "+## (0) ## ### ## ##", "0## / ### ## ##", "0##-#######", "0#### / ## ## ##",
)  # fmt: skip
PHONE_WORDS = (
    "Tel.", "Tel.:", "Tel", "Tél.", "Tél. :", "Telefon", "Telefon:", "Phone", "Phone:", "Fax", "Fax:", "Mobil:",
    "Mobile:", "Mob.", "Teléfono:", "Telefone:", "Telefono", "T", "F", "M", "Hotline", "Tlf.", "Tfn", "Durchwahl",
    "Call", "Ext.",
)  # fmt: skip
CARDS = (
    "#### #### #### ####", "#### ###### #####", "####-####-####-####", "#### #### #### #### ###",
    "**** **** **** ####", "XXXX XXXX XXXX ####", "## ## ## ##", "### ### ###", "### ### ### ###", "## ### ###",
    "#### ####", "#### #### ####", "### ###", "## ## ## ## ## ##", "###### ######", "# ### ### ###", "##### #####",
    "#### ## ##", "## ## ##", "# ###### ######", "### ## ####", "## ####", "#### ##", "### #", "# # # #", "## ##",
    "# ##", "#####-###", "## ### ## ##", "# ## ## ## ### ### ##",
)  # fmt: skip
THOUSANDS = (
    "9 ###", "9# ###", "9## ###", "9 ### ###", "9# ### ###", "9## ### ###", "9 ###,##", "9# ###,##", "9## ###,##",
    "9 ### ###,##", "9 ###.##", "9# ###.##", "-9 ###", "–9 ###,#", "9 ### ### ###", "9.###", "9#.###,##", "9.###.###",
    "9,###", "9#,###", "9,###,###", "9,###.##", "9’###", "9'###.##", "9’###’###", "9# ### km", "9 ### m²",
    "9## ### kWh", "9 ### St.", "9 ### 9##", "9# ### 9# ###", "9 ### 9 ### 9 ###", "9## 9## 9##", "9# 9# 9#",
    "9 9 9 9", "9#,# 9#,# 9#,#", "9.# 9.# 9.#", "9## 9# 9", "#,## #,## #,##",
)  # fmt: skip
IBANS = (
    "DE## #### #### #### #### ##", "FR## #### #### #### #### #### ###", "ES## #### #### #### #### ####",
    "IT## ? ##### ##### ############", "IT## ?### #### #### #### #### #### ###", "PT## #### #### #### #### #### #",
    "GB## ???? #### #### #### ##", "AT## #### #### #### ####", "CH## #### #### #### #### #", "NL## ???? #### #### ##",
    "BE## #### #### ####", "DK## #### #### #### ##", "NO## #### #### ###", "SE## #### #### #### #### ####",
    "DE####################", "????DE??###", "????FR??", "????????###", "BIC ????DE??", "SWIFT: ????CH##",
)  # fmt: skip
MONEY = (
    "9,## €", "9#,## €", "9##,## €", "9.###,## €", "9 ###,## €", "9# ###,## €", "9## ###,## €", "9#.###,## €",
    "€ 9,##", "€ 9#,##", "€9#.##", "€9##.##", "€ 9.###,##", "9,##€", "9#€", "9# €", "9## €", "9.### €", "9 ### €",
    "EUR 9#,##", "9#,## EUR", "9.###,## EUR", "$9.##", "$9#.##", "$9,###.##", "$ 9##.##", "US$ 9,###", "£9.##",
    "£9#.##", "£9,###.##", "£ 9##", "CHF 9#.##", "CHF 9'###.##", "9#.– CHF", "Fr. 9#.–", "9#,– €", "9##,– €",
    "9#,-- €", "¥9,###", "¥ 9## ###", "99 ¢", "9#¢", "-9#,## €", "– 9#,## €", "+9,## €", "9# kr", "9 ### kr",
    "kr 9##,##", "9##:-", "R$ 9#,##", "9# $", "9,9# $", "9# ### $", "(9,###.##)", "9## 000 €", "9,# Mio. €",
    "9# Mrd. €", "9 € 9#", "9#,## €/kg", "9,## €/l", "£9.## each", "à 9,## €", "= 9#,## €", "* 9,## €", "9#,## € A",
    "ab 9,## €",
)  # fmt: skip
QUANTITIES = (
    "9 %", "9# %", "9#%", "9,# %", "9.#%", "19 %", "100 %", "±9 %", "± 0,# mm", "9#±#", "9# °C", "9#°C", "-9 °C",
    "9# °", "9#° 9#’", '9#°9#\'9#"', "9#,#° N", "½ l", "9½", "9 ½ h", "¼", "¾ kg", "9¾", "1½ EL", "9 × 9",
    "9 × 9# cm", "9# x 9# mm", "9##×9##", "9 ÷ 9", "9# m²", "9# m³", "9## cm³", "10² ", "9 km²", "x²+y²", "CO²",
    "9# µm", "9 µg", "9,# µF", "9¹", "text³", "n° 9#", "nº 9#", "Nº 9###", "N° 9##", "1º", "2ª", "3.º", "9.ª",
    "9ª ed.", "9# kg", "9,# km", "9## mm", "9#0 g", "9# ml", "9 l", "9#h", "9# h", "9 h 9#", "9h##", "9# Hz",
    "9,# GHz", "9## GB", "9# MB/s", "9# km/h", "9## W", "9#.# V", "9:9", "9 : 9", "9/9", "9#/9#", "9+9=9#", "9–9#",
    "9#–9#", "9-9#", "9 - 9#", "9###–9###", "9###/##", "S. 9–9#", "pp. 9#–9##", "p. 9##", "S. 9##", "Seite 9",
    "Seite 9 von 9#", "Page 9 of 9#", "page 9/9#", "9 / 9#", "- 9# -", "– 9# –", "[9#]", "(9)", "9)", "9.", "9#.",
    "9.9", "9.9.9", "9.#.#.", "Fig. 9", "Abb. 9.#", "Tab. 9", "Kap. 9", "Art. 9#", "§ 9#", "§ 9## BGB", "§§ 9#–9#",
    "§ 9# Abs. 9", "§ 9 (9)", "Art. 9 § 9", "¶ 9", "©9###", "© 9###", "®", "™", "Nr. 9#", "No. 9##", "#9##",
    "Pos. 9#", "9 Stk.", "9 Stück", "9 pcs", "Qty 9", "9x", "9 x", "x9", "9er", "9th", "9. Aufl.", "9#:##",
    "9#:## Uhr", "9:## pm", "9 a.m.", "##:##:##", "9# min", '9\' 9#"', "~9#", ">9#", "<9", "< 9,#", "9#+",
)  # fmt: skip
CODES = (
    "??-9###", "??9#### ?", "?9#-###/?", "???-##-9##", "SKU: ??-9###/?", "9########", "9############",
    "#############", "########", "978-3-####-####-#", "978 # ### ##### #", "ISBN 978-#-##-######-#", "ISSN ####-####",
    "DE#########", "ATU########", "FR## #########", "USt-IdNr. DE#########", "HRB 9####", "HRB 9#### B",
    "SIRET ### ### ### #####", "NIF ########?", "P.IVA ###########", "???###", "?? ?? ###", "?-?? ####", "?? ## ???",
    "##-??-##", "??.###.##", "?###??", "Art.-Nr. 9####", "Art. 9##-9##", "Ref. ??/##/###", "Réf. : ??###",
    "Rechnung Nr. 9###-##", "Kd.-Nr. 9####", "Order #9#####", "Inv. 9###/##", "S/N ??9##?##?", "P/N 9###-##?", "v9.#",
    "v9.#.#", "9.#.#-rc9", "9##.9##.9#.9", "10.0.#.9#", "##:##:##:##", "0x####", "#!#!!###", "!!#!##!!", "M9x9#",
    "Ø 9# mm", "DIN ## ###", "ISO 9###:####", "EN 9## 9##", "A4", "B9", "Typ ?9#", "Mod. ?-9##", "?9", "??", "?",
    "?!", "9?", "9?9?", "Lot ?#####", "Ch.-B. 9####?", "EXP ##/####", "#### ??", "??# #??", "??## #??", "?# #??",
    "####-###", "?-####", "##### ", "##-###", "L-####",
)  # fmt: skip
WORD = "abcdefghijklmnopqrstuvwxyz"

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "sv": "januari februari mars april maj juni juli augusti september oktober november december",
    "da": "januar februar marts april maj juni juli august september oktober november december",
    "no": "januar februar mars april mai juni juli august september oktober november desember",
}
_WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "it": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "pt": "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
    "sv": "måndag tisdag onsdag torsdag fredag lördag söndag",
    "da": "mandag tirsdag onsdag torsdag fredag lørdag søndag",
    "no": "mandag tirsdag onsdag torsdag fredag lørdag søndag",
}
DATES = (
    "{d:02}.{n:02}.{y}", "{d}.{n}.{y}", "{d:02}.{n:02}.{s:02}", "{d:02}/{n:02}/{y}", "{n}/{d}/{s:02}",
    "{y}-{n:02}-{d:02}", "{d:02}-{n:02}-{y}", "{d}. {m} {y}", "{d} {m} {y}", "{d} de {m} de {y}", "{m} {d}, {y}",
    "{m} {y}", "{w}, {d}. {m} {y}", "{w} {d} {m}", "{w}", "{m}", "{y}", "{d}. {m}", "{d} {m}", "le {d} {m} {y}",
    "{w}, {d}.{n}.", "{m}/{y}", "{y}/{s:02}", "{d:02} {n:02} {y}", "{d:02}.{n:02}.", "{w} {d:02}/{n:02}",
    "1er {m} {y}", "{d}-{e}-{y}", "{d} {e}. {y}", "{e} {y}", "{e}. {d}", "’{s:02}", "'{s:02}",
    "{d:02}.{n:02}.{y} {h:02}:{i:02}", "{y}-{n:02}-{d:02} {h:02}:{i:02}", "{h:02}:{i:02}", "{h}.{i:02} Uhr",
    "{h}h{i:02}", "{h:02}:{i:02} h", "um {h}:{i:02} Uhr", "à {h} h {i:02}", "{d}–{t} {m}", "{d}.–{t}. {m} {y}",
    "{y}–{z}", "({y}–{z})", "*{y}",
)  # fmt: skip
FIRST_DAY, LAST_DAY = date(1850, 1, 1).toordinal(), date(2049, 12, 31).toordinal()

TOPS = (
    "com", "org", "net", "de", "fr", "es", "it", "pt", "co.uk", "eu", "info", "io", "at", "ch", "se", "dk", "no",
    "example", "edu", "gov",
)  # fmt: skip
FILES = (
    "html", "pdf", "php", "jpg", "png", "txt", "xml", "zip", "tar.gz", "aspx", "csv", "docx",
)  # fmt: skip
MARKS_AFTER = (
    ".", ".", ".", ",", ",", ",", ":", ":", ";", "!", "?", "…", "...", "’s", "'s", "*", "¹", "²", "³", ")", "-", "–",
    "®", "™", "?!", ".)", "”", "“", "»",
)  # fmt: skip
AROUND = (
    ("(", ")"), ("(", ")"), ('"', '"'), ('"', '"'), ("'", "'"), ("„", "“"), ("„", "“"), ("“", "”"), ("“", "”"),
    ("‘", "’"), ("‚", "‘"), ("«", "»"), ("« ", " »"), ("»", "«"), ("‹", "›"), ("›", "‹"), ("[", "]"), ("{", "}"),
    ("<", ">"), ("*", "*"), ("– ", " –"), ("—", "—"), ("¿", "?"), ("¡", "!"), ("„", "”"), ("”", "”"), ("/", "/"),
    ("_", "_"),
)  # fmt: skip
BETWEEN = (
    ", ", ", ", "-", "-", " - ", " – ", " – ", "–", "—", " — ", "/", " / ", " & ", ". ", ": ", "; ", "_", ".", " + ",
    " | ", " • ", " · ", "·", "’", "'", " = ", "… ", " ... ", "@",
)  # fmt: skip
BULLETS = (
    "• ", "• ", "• ", "- ", "– ", "— ", "* ", "· ", "» ", "› ", "o ", "+ ", "9. ", "9) ", "(9) ", "!) ", "(!) ", "? ",
    "9.9 ", "9.9. ", "§ 9 ", "§ 9# ", "¶ ", "[9] ", "Art. 9 ", "# ", "9 ", "9# ",
)  # fmt: skip
CELLS = (
    "–", "—", "-", "x", "X", "•", "n/a", "N/A", "k. A.", "ja", "nein", "oui", "non", "sí", "no", "yes", "OK", "0",
    "9", "9#", "9##", "9,#", "0,##", "-9", "+9", "9%", "A", "B", "I", "II", "III", "IV", "VI", "IX", "XII", "9.",
    "(9)", "*", "**", "±", "=", "?", "%", "€", "kg", "m²", "Nr.", "No.", "Pos.", "St.", "Art.", "EUR", "Ø", "#",
    "max.", "min.", "ca.", "vgl.", "s. o.", "etc.", "u. a.", "z. B.", "d. h.", "p. ex.", "i.e.", "e.g.", "S.", "p.",
    "cf.", "Dr.", "Mr.", "Mme", "Sr.", "Sra.", "Prof.", "St", "M.", "Hr.", "Fr.", "GmbH", "AG", "S.A.", "S.p.A.",
    "Ltd.", "& Co.", "e.V.", "Inc.", "9 9", "9# 9#", "9##,##", "9.###,##", "9 ###", "I.", "II.", "a)", "b)", "!)",
    "!.", "¼", "½", "¾", "±0", "1:1",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """What an image shows: a text, and the partly visible letters next to it, where it is cut."""

    text: str
    before: str = ""
    after: str = ""


class LatinTexts:
    """Words and paragraphs by language, from the files that ``corpus.py`` writes.

    folder: the folder of these files. prefix: "" or "held_out_". novels: a file with more English prose, because message
    catalogues contain few words of books. Raises ConfigError if a file is missing or has a character outside the alphabet.
    """

    def __init__(self, folder: Path, prefix: str = "", novels: Path | None = None) -> None:
        self.words = {lang.code: read_lines(folder / f"{prefix}words.{lang.code}.txt") for lang in LANGUAGES}
        self.prose = {lang.code: read_lines(folder / f"{prefix}prose.{lang.code}.txt") for lang in LANGUAGES}
        self.novels = read_lines(novels) if novels is not None else []

    def draw(self, kind: str, chance: Random, longest: int = LONGEST) -> Line:
        """A random text of this kind, a key of ``KINDS``, with at most ``longest`` characters."""
        while True:
            drawn = KINDS[kind](self, chance, _room(chance, longest))
            line = drawn if isinstance(drawn, Line) else Line(drawn)
            text = _tidy(line.text, longest)
            if text:
                return Line(text, line.before, line.after) if text == line.text else Line(text)


def _room(chance: Random, longest: int) -> int:
    """The most characters of a text. Short cells, pieces of lines and full lines are about equally frequent."""
    share = chance.random()
    if share < 0.3:
        return chance.randint(1, min(14, longest))
    return chance.randint(min(8, longest), min(30, longest) if share < 0.8 else longest)


def _tidy(text: str, longest: int) -> str:
    """The text without characters outside the alphabet and without two spaces in a row, cut to its length."""
    text = " ".join("".join(mark for mark in text if mark in ALPHABET).split())
    return text[:longest].strip()


def _language(chance: Random) -> str:
    return chance.choices(_CODES, _SHARES)[0]


_CODES = [language.code for language in LANGUAGES]
_SHARES = [4, 4, 3, 3, 2, 2, 1, 1, 1]


def _filled(template: str, chance: Random) -> str:
    return "".join(chance.choice(_POOLS[mark]) if mark in _POOLS else mark for mark in template)


_POOLS = {"9": "123456789", "#": string.digits, "?": string.ascii_uppercase, "!": WORD}


def _either(*groups: Sequence[str]) -> Callable[[LatinTexts, Random, int], str]:
    """A kind that fills a template. One text in six also has a second template or a short word."""

    def draw(texts: LatinTexts, chance: Random, room: int) -> str:
        text = _filled(chance.choice(chance.choice(groups)), chance)
        share = chance.random()
        if share < 0.08:
            text = f"{text} {_filled(chance.choice(chance.choice(groups)), chance)}"
        elif share < 0.16:
            text = f"{chance.choice(texts.words[_language(chance)])} {text}"
        elif share < 0.2:
            text = f"{text} {chance.choice(texts.words[_language(chance)])}"
        elif share < 0.23:
            text += chance.choice(".,;:")
        return text

    return draw


def _phones(texts: LatinTexts, chance: Random, room: int) -> str:
    text = _filled(chance.choice(PHONES), chance)
    return f"{chance.choice(PHONE_WORDS)} {text}" if chance.random() < 0.3 else text


def _groups(texts: LatinTexts, chance: Random, room: int) -> str:
    """Random groups of digits with spaces, which have no form that a model could memorise."""
    text = _filled(
        " ".join("#" * chance.choice((1, 2, 2, 3, 3, 3, 4, 4, 5)) for _ in range(chance.randint(2, 9))), chance
    )
    return text[: max(room, 4)]


def _numbers(texts: LatinTexts, chance: Random, room: int) -> str:
    share = chance.random()
    if share < 0.3:
        return _phones(texts, chance, room)
    if share < 0.55:
        return _groups(texts, chance, room)
    return _forms(texts, chance, room)


_forms = _either(CARDS, THOUSANDS, IBANS)


def _cased(text: str, chance: Random) -> str:
    share = chance.random()
    if share < 0.55:
        return text
    if share < 0.75:
        return text[:1].upper() + text[1:]
    if share < 0.85:
        return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    return _upper(text)


def _upper(text: str) -> str:
    """The text in upper case; ß, ª, µ and ÿ stay, because the alphabet has no upper case for them."""
    return "".join(mark.upper() if len(mark.upper()) == 1 and mark.upper() in ALPHABET else mark for mark in text)


def _words(texts: LatinTexts, chance: Random, room: int) -> str:
    words = texts.words[_language(chance)]
    mark = chance.random()
    between = chance.choice(BETWEEN) if mark < 0.2 else " "
    text = chance.choice(words)
    while len(text) > room and chance.random() < 0.8:
        text = chance.choice(words)
    while len(text) + len(between) + 3 < room and chance.random() < 0.9:
        word = chance.choice(words)
        if len(text) + len(between) + len(word) <= room:
            text += between + word
    text = _cased(text, chance)
    if 0.2 <= mark < 0.45:
        text += chance.choice(MARKS_AFTER)
    elif mark >= 0.85:
        before, after = chance.choice(AROUND)
        text = before + text[: LONGEST - len(before + after)] + after
    return text


def _running(texts: LatinTexts, chance: Random, least: int) -> str:
    """A paragraph of at least this many characters, sometimes with the quotes and dashes of its language."""
    prose = texts.novels if texts.novels and chance.random() < 0.2 else texts.prose[_language(chance)]
    text = chance.choice(prose)
    while len(text) < least:
        text += " " + chance.choice(prose)
    if chance.random() < 0.5:
        text = _typographic(text, chance)
    return text


def _typographic(text: str, chance: Random) -> str:
    opening, closing = chance.choice(
        (("„", "“"), ("“", "”"), ("«", "»"), ("« ", " »"), ("»", "«"), ("‘", "’"), ("‚", "‘"))
    )
    parts = text.split('"')
    quoted = parts[0] + "".join((opening if at % 2 else closing) + part for at, part in enumerate(parts[1:], 1))
    quoted = quoted.replace("'", "’").replace("...", "…")
    return quoted.replace(" - ", chance.choice((" – ", " — ", "—")))


def _prose(texts: LatinTexts, chance: Random, room: int) -> str:
    """Consecutive words, like a piece of a line that is cut between words."""
    room = max(room, chance.randint(1, LONGEST))
    words = _running(texts, chance, 60).split()
    at = chance.randrange(max(len(words) - 3, 1))
    text = words[at]
    for word in words[at + 1 : at + LONGEST]:
        if len(text) + 1 + len(word) > room:
            break
        text += " " + word
    if chance.random() < 0.1:
        before, after = chance.choice(AROUND)
        text = before + text[: LONGEST - len(before + after)] + after
    return _upper(text) if chance.random() < 0.05 else text


def _pieces(texts: LatinTexts, chance: Random, room: int) -> Line:
    """A piece of a long word, an address or a line, which starts or ends between two letters."""
    share = chance.random()
    if share < 0.45:
        whole = _address(chance, texts)
    elif share < 0.75:
        words = texts.words[_language(chance)]
        whole = max(chance.choice(words) for _ in range(3)) if share < 0.5 else "".join(chance.choices(words, k=2))
        whole = _upper(whole) if chance.random() < 0.2 else whole
    elif share < 0.9:
        whole = _running(texts, chance, 60)[:120]
    else:
        whole = _filled(chance.choice(IBANS + CODES + CARDS), chance).replace(" ", chance.choice(("", " ")))
    room = max(room, 3)
    start = chance.randrange(max(len(whole) - room // 2, 1)) if chance.random() < 0.7 else 0
    end = min(len(whole), start + room)
    while start < end and whole[start] == " ":
        start += 1
    while end > start and whole[end - 1] == " ":
        end -= 1
    before = whole[start - 1] if start and whole[start - 1] != " " else ""
    after = whole[end] if end < len(whole) and whole[end] != " " else ""
    return Line(whole[start:end], before, after)


def _name(chance: Random, texts: LatinTexts, most: int = 12) -> str:
    """A word of an address, in lower-case ASCII letters."""
    for _ in range(20):
        word = chance.choice(texts.words[_language(chance)]).lower()
        if len(word) <= most and word.isascii() and word.isalpha():
            return word
    return "".join(chance.choices(WORD, k=chance.randint(min(2, most), most)))


def _address(chance: Random, texts: LatinTexts) -> str:
    """An e-mail or a web address, 6 to some 70 characters long."""
    name = lambda most=12: _name(chance, texts, most)  # noqa: E731
    digits = lambda most: "".join(chance.choices(string.digits, k=chance.randint(1, most)))  # noqa: E731
    host = ".".join([*(name() for _ in range(chance.choice((0, 0, 0, 1, 1, 2)))), name(16), chance.choice(TOPS)])
    if chance.random() < 0.3:
        host = host.replace(".", "-", 1) if host.count(".") > 1 else f"{name(6)}-{host}"
    if chance.random() < 0.45:
        local = chance.choice(
            (
                name(), f"{name()}.{name()}", f"{name(1)}.{name()}", f"{name()}_{name()}", f"{name()}{digits(3)}",
                f"{name()}-{name()}", "info", "kontakt", "contact", "service", "office", f"{name()}+{name(5)}", "no-reply",
            )
        )  # fmt: skip
        text = f"{local}@{host}"
        share = chance.random()
        return (
            f"E-Mail: {text}"
            if share < 0.1
            else f"mailto:{text}"
            if share < 0.15
            else f"<{text}>"
            if share < 0.18
            else text
        )
    text = (
        chance.choice(
            ("https://", "https://", "https://www.", "http://www.", "http://", "www.", "www.", "", "", "ftp://")
        )
        + host
    )
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3, 4))):
        text += "/" + chance.choice(
            (
                name(), name(), f"{name()}-{name()}", f"{name()}_{name(6)}", digits(4), f"{name(3)}{digits(3)}", "~" + name(8),
                name().capitalize(),
            )
        )  # fmt: skip
    share = chance.random()
    if share < 0.2:
        text += f"/{name()}.{chance.choice(FILES)}"
    elif share < 0.35:
        text += "/"
    elif share < 0.5:
        text += f"/{name()}?{name(5)}={chance.choice((name(8), digits(5)))}"
        if chance.random() < 0.5:
            text += f"&{name(4)}={digits(4)}"
    elif share < 0.55:
        text += f"#{name(8)}"
    elif share < 0.6:
        text += f":{digits(4)}"
    return text


def _addresses(texts: LatinTexts, chance: Random, room: int) -> str:
    """An address that fits. Parts of longer ones occur among the ``pieces``."""
    for _ in range(8):
        text = _address(chance, texts)
        if len(text) <= LONGEST:
            break
    return _upper(text) if chance.random() < 0.04 else text


def _dates(texts: LatinTexts, chance: Random, room: int) -> str:
    day = date.fromordinal(chance.randint(FIRST_DAY, LAST_DAY))
    code = _language(chance)
    month, weekday = _MONTHS[code].split()[day.month - 1], _WEEKDAYS[code].split()[day.weekday()]
    text = chance.choice(DATES).format(
        d=day.day, t=min(day.day + chance.randint(1, 9), 31), n=day.month, m=month, e=month[:3], y=day.year, z=day.year + 1,
        s=day.year % 100, w=weekday, h=chance.randrange(24), i=chance.randrange(60),
    )  # fmt: skip
    share = chance.random()
    return _upper(text) if share < 0.08 else text[:1].upper() + text[1:] if share < 0.2 else text


def _cells(texts: LatinTexts, chance: Random, room: int) -> str:
    """The content of a table cell, or the beginning of a list item."""
    share = chance.random()
    if share < 0.3:
        return _filled(chance.choice(CELLS), chance)
    words = texts.words[_language(chance)]
    text = _cased(chance.choice(words), chance)
    if share < 0.5:
        return text
    if share < 0.6:
        return f"{text} {_filled(chance.choice(CELLS), chance)}"
    return _filled(chance.choice(BULLETS), chance) + _prose(texts, chance, max(room - 4, 4))[: LONGEST - 5]


def _capitals(texts: LatinTexts, chance: Random, room: int) -> str:
    text = _words(texts, chance, room) if chance.random() < 0.6 else _prose(texts, chance, room)
    return _upper(text)


def _characters(texts: LatinTexts, chance: Random, room: int) -> str:
    """Random characters, so that every character occurs next to every other."""
    pools = chance.choices(_CHARACTERS, _CHARACTER_SHARES, k=min(room, 30))
    marks = [chance.choice(pool) for pool in pools]
    for at in range(1, len(marks) - 1):
        if chance.random() < 0.12:
            marks[at] = " "
    return "".join(marks)


_CHARACTERS = (string.ascii_letters, string.digits, string.punctuation, LETTERS, SIGNS, QUOTES, PRINTABLE)
_CHARACTER_SHARES = (6, 3, 3, 4, 1.5, 0.7, 2)

KINDS: dict[str, Callable[[LatinTexts, Random, int], str | Line]] = {
    "words": _words,
    "prose": _prose,
    "pieces": _pieces,
    "numbers": _numbers,
    "amounts": _either(MONEY, MONEY, QUANTITIES),
    "codes": _either(CODES),
    "addresses": _addresses,
    "dates": _dates,
    "cells": _cells,
    "capitals": _capitals,
    "characters": _characters,
}
