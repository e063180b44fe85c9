"""What a run might have recorded, with every part that its page knows; all made up."""

from __future__ import annotations

EVIL = '<script>alert("x")</script>'


def _recorded(number: str, claims=(), **values) -> dict:
    names = {"01": "01_load_data", "03": "03_train_recommender", "04": "04_score_samples"}
    names |= {"05": "05_act_on_importance", "06": "06_evaluate_models", "08": "08_judge_the_scores"}
    content = {
        "notebook": names[number],
        "reference": True,
        "parameters": {"seed": 0},
        "seconds": 9.0,
        "versions": {"python": "3.11.9"},
        "claims": [{"sentence": s, "holds": h} for s, h in claims],
        "values": values,
    }
    return {names[number]: content}


def _sample(rank: int) -> dict:
    return {
        "label": rank % 2,
        "prediction": 0.012345 * rank,
        "loss": 4.39 - rank / 10,
        "gradient_norm": 9.87 - rank / 5,
        "user_id": f"household-{rank % 3}",
        "query": "secret wish",
        "item_id": 1_082_185 + rank,
        "title": EVIL if rank == 0 else "FLUID MILK WHITE ONLY",
        "price": 2.99,
    }


def _change(metric: str, before: float, after: float, low: float, high: float) -> dict:
    about = {"data": "20% noise", "model": "mlp", "action": "drop highest"}
    numbers = {"before": before, "after": after, "difference": after - before}
    return about | {"metric": metric} | numbers | {"low": low, "high": high}


def _decision() -> dict:
    found = {"score": "out-of-fold loss", "auroc": 0.91234, "of_ceiling": None}
    acted = {"action": "drop suspects", "gain": 0.01, "low": 0.002, "high": 0.0181}
    acted |= {"log_loss": -0.012, "log_loss_low": -0.02, "log_loss_high": -0.0041}
    words = {"recovered": None, "verdict": "helps", "cost": "10 trainings", "fails_when": "never"}
    return (
        {"purpose": "clean the labels", "noise": "20% flips", "model": "mlp"}
        | found
        | acted
        | words
    )


def made_up_results() -> dict:
    """Results with every part that the page knows."""
    study = [
        {"data": d, "model": m, "action": a, "auc": 0.85, "difference": 0.011, "low": -0.002,
         "high": 0.02, "log_loss": 0.39}
        for d in ("as it is", "20% noise")
        for m in ("linear", "mlp")
        for a in ("uniform", "drop highest", "drop random", "up-weight", "importance sampling")
    ]  # fmt: skip
    recorded = {
        **_recorded(
            "01",
            source="journey",
            rows={"train": 175_123, "attribution": 20_011, "valid": 31_000, "test": 50_500},
            positive_share={"train": 0.161, "attribution": 0.158, "valid": 0.155, "test": 0.16},
            period={"train": "2017-07-02 - 2017-10-21", "test": "2017-11-26 - 2017-12-30"},
            notes=["Of the rows without a purchase, 12 were drawn per visit."],
            logit_offset=-3.25,
            dropped=[{"table": "user_behavior", "reason": "no item_id", "rows": 12}],
        ),
        **_recorded("03", models=[{"model": "mlp", "auc": 0.86, "ndcg@10": None, "n": 31000}]),
        **_recorded(
            "04",
            [("important rows are surprising", True), ("rare <items> pull harder", False)],
            importance_rows=175_123,
            most_important=[_sample(i) for i in range(25)],
            least_important=[_sample(i) for i in range(20)],
            agreement=[{"score": "loss", "gradient norm": 0.93}],
        ),
        **_recorded("05", study=study, chosen=[{"data": "as it is", "action": "drop highest"}]),
        **_recorded(
            "06",
            before_after=[
                _change("auc", 0.8551, 0.8602, 0.0031, 0.0071),
                _change("log_loss", 0.39, 0.385, -0.009, -0.001),
                _change("f1", 0.52, 0.51, -0.02, 0.001),
            ],
            verdict=["Dropping the highest tenth helped under noise.", f"Not {EVIL}."],
        ),
        **_recorded("08", decisions=[_decision()], advice=f"Leave the data alone {EVIL}."),
    }
    run = {
        "source": "journey",
        "parameters": {"epochs": "5", "note": "two words"},
        "notebooks": list(recorded),
        "fingerprint": "a1b2c3",
        "seed": 0,
        "reference": True,
        "versions": {"python": "3.11.9", "tensorflow": "2.21.0"},
        "seconds": 210.0,
        "seconds_by_notebook": dict.fromkeys(recorded, 42.0),
    }
    return {"run": run, "notebooks": recorded}
