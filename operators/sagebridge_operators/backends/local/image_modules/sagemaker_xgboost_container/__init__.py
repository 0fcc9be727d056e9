"""The part of the XGBoost image's package that scripts of models import."""
