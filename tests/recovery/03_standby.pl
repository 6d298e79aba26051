# On a hot standby code_get answers, and what would write says so: 25006.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = new_primary('primary');
put($primary, $_) for 'live', 'spent';
is(take($primary, 'spent'), 'ok', 'a code is spent on the primary');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
put($primary, 'later');
$primary->wait_for_catchup($standby);

sub got { return $standby->safe_psql('postgres', "SELECT data->>'client_id', expires_at FROM code_get('$_[0]')"); }

is(got('live'), 'c|1800000000', 'the standby gets a live code');
is(got('later'), 'c|1800000000', 'and one that was put while it streamed');
is(got('spent'), '', 'and not a spent one');

my $grant = grant();
is(error_of($standby, "SELECT code_put('new', '$grant', 1800000000)"), '25006', 'code_put is refused');
is(error_of($standby, "SELECT * FROM code_take('live')"), '25006', 'code_take is refused');
is(error_of($standby, "BEGIN; SELECT * FROM code_take('live'); COMMIT"), '25006', 'in a transaction, too');
is(error_of($standby, "SELECT code_mark_consumed('spent')"), '25006', 'code_mark_consumed is refused');
is(take($primary, 'live'), 'ok', 'the code is still live on the primary');
$primary->wait_for_catchup($standby);
is(got('live'), '', 'and spent on the standby once that has arrived');

done_testing();
