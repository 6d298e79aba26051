# On a hot standby code_get, code_inspect, code_access_token_revoked and code_family_revoked answer, as in a READ ONLY transaction, and what would
# write says so: 25006.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = new_primary('primary');
put($primary, $_) for 'live', 'spent', 'redeemed';
is(take($primary, $_), 'ok', "a code is $_ on the primary") for 'spent', 'redeemed';
$primary->safe_psql('postgres', q(SELECT code_mark_consumed('redeemed', '{"n": 1}')));
$primary->safe_psql('postgres', "SELECT code_record_access_token('f-' || i, 't-' || i, 1800000000) FROM generate_series(1, 2) i; SELECT code_record_access_token('f-1', 'expired', 1); SELECT code_revoke_family('f-1')");

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
put($primary, 'later');
$primary->safe_psql('postgres', "SELECT code_record_access_token('f-1', 'born revoked', 1800000000)");
$primary->wait_for_catchup($standby);

sub got { return $standby->safe_psql('postgres', "SELECT data->>'client_id', expires_at FROM code_get('$_[0]')"); }

is(got('live'), 'c|1800000000', 'the standby gets a live code');
is(got('later'), 'c|1800000000', 'and one that was put while it streamed');
is(got('spent'), '', 'and not a spent one');
my $inspect = q(SELECT string_agg(h || ': ' || status || ' ' || expires_at || coalesce(' ' || meta::text, ''), ', ' ORDER BY h) FROM unnest('{live,redeemed,spent,unknown}'::text[]) h, code_inspect(h));
my $inspected = 'live: live 1800000000, redeemed: redeemed 1800000000 {"n": 1, "subject": "s", "family_id": null}, spent: spent 1800000000';

my $revoked = q(SELECT string_agg(code_access_token_revoked(jti)::text, ' ' ORDER BY at)
	FROM unnest('{t-1,born revoked,t-2,expired,unknown}'::text[]) WITH ORDINALITY jtis(jti, at));
my @where = ([ 'on the standby', $standby, $revoked ], [ 'in a READ ONLY transaction', $primary, "BEGIN READ ONLY; $revoked; COMMIT" ],
	[ 'in a SERIALIZABLE one', $primary, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; $revoked; COMMIT" ]);
is($_->[1]->safe_psql('postgres', $_->[2]), 'true true false false false', "$_->[0] a resource server asks for revoked tokens") for @where;
is($_->[1]->safe_psql('postgres', $_->[2]), $inspected, "$_->[0] any code is inspected")
  for [ 'on the standby', $standby, $inspect ], [ 'in a READ ONLY transaction', $primary, "BEGIN READ ONLY; $inspect; COMMIT" ];
my $family = q(SELECT string_agg(code_family_revoked(f)::text, ' ' ORDER BY f) FROM unnest('{f-1,f-2,f-3}'::text[]) f);
is($_->[1]->safe_psql('postgres', $_->[2]), 'true false false', "$_->[0] a family is asked for")
  for [ 'on the standby', $standby, $family ], [ 'in a READ ONLY transaction', $primary, "BEGIN READ ONLY; $family; COMMIT" ];
is($standby->safe_psql('postgres', 'SELECT live, spent, families_revoked, puts FROM code_stats()'), '2|1|1|', 'the standby has statistics');

my $grant = grant();
is(error_of($standby, "SELECT code_put('new', '$grant', 1800000000)"), '25006', 'code_put is refused');
is(error_of($standby, "SELECT code_issue('$grant')"), '25006', 'code_issue is refused');
is(error_of($standby, "SELECT * FROM code_take('live')"), '25006', 'code_take is refused');
is(error_of($standby, "BEGIN; SELECT * FROM code_take('live'); COMMIT"), '25006', 'in a transaction, too');
is(error_of($standby, "SELECT code_mark_consumed('spent')"), '25006', 'code_mark_consumed is refused');
is(error_of($standby, "SELECT $_"), '25006', "$_ is refused") for "* FROM code_redeem('live', 'c', 'r')", "* FROM code_redeem('live', 'another')", "* FROM code_redeem('redeemed', 'c', 'r')",
  "* FROM code_redeem('unknown', 'c', 'r')", "code_complete('spent')", "code_complete('spent', 'new', 1800000000)", "code_complete('unknown')";
is(error_of($standby, "BEGIN; SELECT * FROM code_redeem('live', 'c', 'r'); COMMIT"), '25006', 'in a transaction, too');
is(error_of($standby, "SELECT code_record_access_token('f-2', 'new', 1800000000)"), '25006', 'code_record_access_token is refused');
is(error_of($standby, "SELECT code_revoke_family('f-2')"), '25006', 'code_revoke_family is refused');
is(error_of($standby, 'SELECT code_sweep()'), '25006', 'code_sweep is refused');
is(take($primary, 'live'), 'ok', 'the code is still live on the primary');
$primary->wait_for_catchup($standby);
is(got('live'), '', 'and spent on the standby once that has arrived');
$primary->safe_psql('postgres', "SELECT code_revoke_family('f-2')");
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $revoked), 'true true true false false', 'and so is a revocation');
is($standby->safe_psql('postgres', $family), 'true true false', 'of the family');

# The protocol on the primary, as the standby sees it.
$primary->safe_psql('postgres', "SELECT code_redeem('later', 'c', 'r'); SELECT code_complete('later', 'of later', 1800000000, '{\"family_id\": \"f-3\"}')");
$primary->wait_for_catchup($standby);
my $later = q(SELECT status, meta, code_access_token_revoked('of later'), code_family_revoked('f-3'), code_family_revoked('later') FROM code_inspect('later'));
is($standby->safe_psql('postgres', $later), 'redeemed|{"subject": "s", "family_id": "f-3"}|f|f|f', 'a completion arrives');
$primary->safe_psql('postgres', "BEGIN; SELECT code_redeem('later', 'c', 'r'); ROLLBACK");
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $later), 'redeemed|{"subject": "s", "family_id": "f-3"}|t|t|t', 'and the revocation of a reuse, of all names');

done_testing();
