# Codes in every state, tokens and families, and what each has to answer after the database was moved or updated: with the
# tables of this version, and with those of the first one.
package States;

use strict;
use warnings;
use AttestoCodes;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(every_state is_every_state every_row first_version is_first_version rows_of_first_version);

my @tables = qw(authorizations authorization_access_tokens authorization_revoked_families);

# The extension in a schema of a database, a role that may take and nothing else, and all that the tables can hold.
sub every_state
{
	my ($node, $db, $schema) = @_;
	$node->safe_psql($db, qq(
		CREATE SCHEMA IF NOT EXISTS $schema;
		CREATE EXTENSION attesto_codes SCHEMA $schema;
		SET search_path = $schema;
		CREATE ROLE token_$schema;
		GRANT USAGE ON SCHEMA $schema TO token_$schema;
		GRANT EXECUTE ON FUNCTION code_take(text) TO token_$schema;
		SELECT code_put(name, jsonb_build_object('client_id', 'c', 'subject', name, 'redirect_uri', 'r',
			'scope', '["a", "b"]'::jsonb, 'dpop_jkt', 'j', 'family_id', 'fam', 'code_challenge', 'x', 'nonce', repeat(name, 1000),
			'claims', '{"n": 12345678901234567890.123}'::jsonb, 'later', '[null]'::jsonb), 1800000000)
		FROM unnest('{live,spent,replayed,redeemed,reused}'::text[]) name;
		SELECT code_take(name) FROM unnest('{spent,replayed,replayed,redeemed,reused}'::text[]) name;
		SELECT code_mark_consumed(name, '{"jti": "t"}') FROM unnest('{redeemed,reused}'::text[]) name;
		SELECT code_take('reused');
		SELECT code_put('retained', '${\ grant(family_id => 'fam')}', extract(epoch FROM now())::bigint - 60);
		SELECT code_take('retained'); SELECT code_mark_consumed('retained');
		SELECT code_sweep();
		SELECT code_put('due', '${\ grant()}', extract(epoch FROM now())::bigint - 60);
		SELECT code_record_access_token('fam', jti, 1800000000) FROM unnest('{t-1,t-2}'::text[]) jti;
		SELECT code_record_access_token('bad fam', 'bad-t', 1800000000);
		SELECT code_revoke_family(f) FROM unnest('{bad fam,fam without a token}'::text[]) f;
		SELECT code_record_access_token('bad fam', 'born bad-t', 1800000000);
		SELECT code_put('live of bad fam', '${\ grant(family_id => 'bad fam')}', 1800000000);
		SET attesto_codes.codes_survive_crash = off;
		SELECT code_put(name, '${\ grant()}', 1800000000) FROM unnest('{live of a run,spent of a run}'::text[]) name;
		SELECT code_take('spent of a run');));
	is($node->safe_psql($db, "SELECT count(replayed_at), count(reused_at), count(retain_from), count(run) FROM $schema.authorizations"),
		'1|1|1|2', "$db: there are codes in every state");
	return;
}

# Every row of the tables, as text.
sub every_row
{
	my ($node, $db, $schema) = @_;
	return join "\n", map { $node->safe_psql($db, "SELECT t::text FROM $schema.$_ t ORDER BY 1") } @tables;
}

# $of_a_run: what the live code of a run answers there, ok or error.
sub is_every_state
{
	my ($node, $db, $schema, $title, $of_a_run) = @_;
	my $answer = sub { return $node->safe_psql($db, "SET search_path = $schema; $_[0]"); };
	my $taken = join "\n", map {
		$answer->("SET ROLE token_$schema; SELECT status, data->'claims', length(data->>'nonce'), meta FROM code_take('$_')")
	} qw(live live spent redeemed reused);
	is($taken, join("\n",
		'ok|{"n": 12345678901234567890.123}|4000|', 'error|||', 'error|||',
		'consumed|||{"jti": "t", "subject": "redeemed", "family_id": "fam"}', 'consumed|||{"jti": "t", "subject": "reused", "family_id": "fam"}'),
		"$title: each code goes on from its state, for the role that was granted");
	is(error_of($node, "SET ROLE token_$schema; SET search_path = $schema; SELECT code_mark_consumed('live')", $db), '42501',
		"$title: which may do no more than before");
	is($answer->("SELECT code_mark_consumed('replayed')"), 'replayed', "$title: a replay is remembered");
	is($answer->("SELECT status FROM code_take('live of a run')"), $of_a_run, "$title: a live code of a run: $of_a_run");
	is($answer->("SELECT status FROM code_take('spent of a run')"), 'error', "$title: a spent code of a run is spent");
	is($answer->("SELECT code_access_token_revoked(jti) FROM unnest('{t-1,bad-t,born bad-t}'::text[]) jti"),
		"f\nt\nt", "$title: a revoked token stays revoked, another does not become it");
	is($answer->("SELECT status FROM code_take('live of bad fam')"), 'error', "$title: a live code of a revoked family stays revoked");
	is($answer->("SELECT code_record_access_token('fam without a token', 'late', 1800000000)"),
		'f', "$title: and so does a family without a token");
	is($answer->("SELECT code_revoke_family('fam')"), '2', "$title: a family is revoked with its tokens");
	is($answer->("SELECT code_sweep(), status FROM code_take('retained')"), '1|consumed', "$title: evidence is kept, and what is due is swept");
	is($answer->("SELECT code_put('new', '${\ grant()}', 1800000000); SELECT status FROM code_take('new')"), "\nok", "$title: new codes are issued and taken");
	return;
}

# What the first version knew of each row, and what else is said.
sub rows_of_first_version
{
	my ($node, $db, $schema) = @_;
	return $node->safe_psql($db, qq(SELECT to_jsonb(a) - '{replayed_at,reused_at,retain_from,run}'::text[],
		jsonb_strip_nulls(jsonb_build_array(to_jsonb(a)->'replayed_at', to_jsonb(a)->'reused_at', to_jsonb(a)->'retain_from', to_jsonb(a)->'run'))
		FROM $schema.authorizations a ORDER BY code_hash));
}

# The first version in a schema of a database, with codes in every state, live or expired; "old" ones for longer than their
# evidence is kept.
sub first_version
{
	my ($node, $db, $schema) = @_;
	$node->safe_psql($db, qq(CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes VERSION '0.1.0' SCHEMA $schema));
	$node->safe_psql($db, qq(SET search_path = $schema;
		INSERT INTO authorizations (code_hash, expires_at, inserted_at, consumed_at, consumed_success, consumed_meta, client_id, subject,
			redirect_uri, scope, resource, code_challenge, code_challenge_method, cnf, nonce, family_id, claims, extra)
		SELECT state || '-' || age, now() + expiry, now() - interval '1 year', CASE WHEN state <> 'live' THEN now() - interval '1 hour' END, state = 'redeemed',
			CASE WHEN state = 'redeemed' THEN '{"jti": "t"}'::jsonb END, 'c', state, 'r', '{a,b}', '{}', 'x', 'S256', '{"jkt": "j"}', NULL, 'fam',
			'{"n": 12345678901234567890.123}', '{"later": [null]}'
		FROM unnest('{live,spent,redeemed}'::text[]) state,
			(VALUES ('new', interval '1 hour'), ('past', interval '-1 hour'), ('old', interval '-31 days')) ages(age, expiry);));
	return;
}

# After the update.
sub is_first_version
{
	my ($node, $db, $role) = @_;
	is($node->safe_psql($db, 'SELECT code_sweep()'), 5, "$db: what is due is swept");
	is($node->safe_psql($db, q(SELECT string_agg(code_hash, ' ' ORDER BY code_hash) FROM authorizations)),
		'live-new redeemed-new redeemed-past spent-new', "$db: and nothing else");
	is(join(' ', map { error_of($node, "SELECT code_put('$_', '${\ grant()}', 1)", $db) } qw(live-new spent-new redeemed-new redeemed-past)),
		'23505 23505 23505 23505', "$db: no code can be put again");
	is($node->safe_psql($db, qq(SET ROLE $role; SELECT status, data FROM code_take('live-new'))),
		'ok|{"later": [null], "nonce": null, "scope": ["a", "b"], "claims": {"n": 12345678901234567890.123}, "subject": "live", '
		  . '"dpop_jkt": "j", "resource": [], "client_id": "c", "family_id": "fam", "redirect_uri": "r", "code_challenge": "x", "code_challenge_method": "S256"}',
		"$db: a live code is taken with its grant, by the role that was granted");
	is($node->safe_psql($db, "SELECT code_mark_consumed('live-new'); SELECT status FROM code_take('live-new')"),
		"ok\nconsumed", "$db: and is redeemed");
	is($node->safe_psql($db, "SELECT status FROM code_take('spent-new'); SELECT code_mark_consumed('spent-new')"),
		"error\nreplayed", "$db: a replay of a spent code is seen");
	is($node->safe_psql($db, "SELECT status, meta FROM code_take('$_')"),
		'consumed|{"jti": "t", "subject": "redeemed", "family_id": "fam"}', "$db: a reuse of $_ is, too")
	  for qw(redeemed-new redeemed-past);
	return;
}

1;
