TRUNCATE authorizations;
SELECT count(code_put('c' || i, '{"client_id": "s6BhdRkqt3.example-app", "subject": "0b1f6a52-6a0c-4f7e-9d35-2c8e4f1a7b90",
  "redirect_uri": "https://app.example.com/oauth/callback", "scope": ["openid", "profile", "email"],
  "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "family_id": "0b1f6a52-4b1e-9c6d-5f2a-7890",
  "claims": {"acr": "urn:example:loa:2", "auth_time": 1763870000, "amr": ["pwd", "otp"]}}', 1893456000))
FROM generate_series(1, :codes) AS i;
VACUUM ANALYZE authorizations;
CHECKPOINT;
