"""Holds the forms of an audit against their schemas: FORMS.py SCHEMA STATEMENT BILL."""

import json
import sys

import jsonschema
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

schema, statement, bill = (open(path).read() for path in sys.argv[1:])
jsonschema.Draft202012Validator.check_schema(json.loads(schema))
jsonschema.Draft202012Validator(json.loads(schema)).validate(json.loads(statement))
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
sys.exit(f"{wrong}" if wrong else 0)
