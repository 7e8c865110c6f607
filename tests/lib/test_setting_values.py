"""Texts that people set, each on its own; `test_settings` has them as variables."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.pricing import PRICES, Price
from lib.setting_values import (
    api_key,
    collection_name,
    dollars_a_day,
    exact_origins,
    flag,
    http_url,
    json_object,
    local_model,
    one_of,
    price_table,
    reader_keys,
    redis_url,
    short_text,
    whole_number,
)

Parse = Callable[[str], object]

PARSERS: list[Parse] = [
    api_key,
    collection_name,
    dollars_a_day,
    exact_origins,
    flag,
    http_url,
    json_object,
    one_of(("one", "two"), str.lower),
    price_table,
    reader_keys,
    redis_url,
    short_text,
    whole_number(0, 10**12),
]

REFUSED: list[tuple[Parse, str, str]] = [
    (http_url, "ftp://x", "http://"),
    (http_url, "http://", "http://"),
    (http_url, "http://x:port/v1", "http://"),
    (http_url, "http://[::1", "http://"),
    (http_url, "http://a b/v1", "http://"),
    (price_table, '{"m": ["0.4"]}', "dollars"),
    (price_table, '{"m": [true]}', "dollars"),
    (price_table, '{"m": [-1]}', "dollars"),
    (price_table, '{"m": []}', "dollars"),
    (price_table, '{"m": [1, 2, 3]}', "dollars"),
    (dollars_a_day, "nan", "US dollars"),
    (dollars_a_day, "-1", "US dollars"),
    (dollars_a_day, "1000000", "999999"),
    (whole_number(50, 2_000), "1e2", "from 50 to 2000"),
    (whole_number(0, 65_535), "٨", "from 0 to 65535"),
    (collection_name, "../x", "letters"),
    (collection_name, "x" * 65, "64"),
    (json_object, "[1]", "JSON"),
    (local_model, "x" * 5_000, "multilingual or english"),
    (exact_origins, "https://*.example.org", "without *"),
    (exact_origins, "https://a.example,book.example", "exact origins"),
    (exact_origins, "https://a.example/docs", "path"),
    (exact_origins, "https://u@a.example", "exact origins"),
    (redis_url, "http://:geheim@host", "rediss://"),
    (redis_url, "redis://:geheim@", "rediss://"),
    (redis_url, "redis://:geheim@host/first", "rediss://"),
    (redis_url, "redis://:geheim@host?password=x", "ssl_ca_certs"),
    (redis_url, "redis://:geheim@host?ssl_ca_certs=/ca.pem", "rediss:// for TLS"),
    (redis_url, "redis://:geheim@host#0", "rediss://"),
    (redis_url, "rediss://:geheim@host?ssl_ca_certs", "rediss://"),
]


@pytest.mark.parametrize(("parse", "raw", "allowed"), REFUSED)
def test_what_is_allowed_is_said(parse: Parse, raw: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(allowed)) as caught:
        parse(raw)
    assert "geheim" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(raw: str) -> None:
    for parse in PARSERS:
        with suppress(ValueError):
            parse(raw)


def test_a_model_of_one_s_own_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        local_model(str(tmp_path))
    (tmp_path / "tokenizer.json").touch()
    assert local_model(str(tmp_path)) == str(tmp_path)


def test_a_price_is_for_input_or_for_both() -> None:
    read = price_table('{"m": [1, 2.5], "gpt-4.1": [0.02]}')
    assert read == PRICES | {"m": Price(1.0, 2.5), "gpt-4.1": Price(0.02)}


def test_keys_may_have_names() -> None:
    assert reader_keys(" one, ann:two ,,") == ("one", "ann:two")
    with pytest.raises(ValueError, match="without white space"):
        reader_keys("one,ann:t w o")
