package sentinel

import (
	"context"

	"github.com/rs/zerolog"
)

// library is where go-redis logs to, which it else does to stderr. Whatever
// matters of it comes back as an error and is told with its reason.
type library struct{ log zerolog.Logger }

func (l library) Printf(_ context.Context, format string, v ...any) {
	l.log.Debug().Msgf("go-redis: "+format, v...)
}
