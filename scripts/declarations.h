// For declarations.sh: the headers of PostgreSQL that declare what src/ declares by hand, and what
// the types in those declarations are in C.
#include "postgres.h"

// Their headers need not be on the machine, and nothing here depends on them.
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "catalog/pg_inherits.h"
#include "commands/async.h"
#include "executor/executor.h"
#include "libpq/libpq.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/timeout.h"

typedef char c_char;
typedef int c_int;
typedef uint32 u32;
typedef uint64 u64;
typedef size_t usize;

// Names that src/ gives to types of PostgreSQL.
typedef PQcommMethods Methods;

// Numbers that src/ gives to what PostgreSQL has names for.
_Static_assert(STATEMENT_TIMEOUT == 3, "STATEMENT_TIMEOUT has another number in src/pg/transaction.rs");
