CREATE EXTENSION attesto_codes;
