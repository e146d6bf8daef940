# SPDX-License-Identifier: BSD-2-Clause
"""Symptoms of a target as the campaign's plan keeps them."""

import json

from harness.plan.symptom import SymptomModel


def test_a_console_symptom_is_plain_data() -> None:
    symptom = SymptomModel.model_validate(
        {"name": "freed page", "console": {"title": "kernel BUG", "frames": ["put_page"]}}
    )
    dumped = symptom.model_dump()
    assert SymptomModel.model_validate(json.loads(json.dumps(dumped))) == symptom
    assert dumped["console"]["title"] == "kernel BUG"
