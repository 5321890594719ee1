// Package tunnel is a client of Tablestore's Tunnel Service, in three layers
// that can each be used without the one above:
//
//   - [Client] makes the calls of the service's API: signed, tried again while
//     that may help, with errors that say what to do about them.
//   - [Worker] keeps a client of a tunnel connected and hands its channels to
//     a [Consumer], which reads them and commits.
//   - [Processor] is a Consumer for most: it calls a callback with decoded
//     records, page by page, and commits what the callback has settled.
//
// Credentials come from the environment, are given, or expire and are
// replaced in time: [RefreshingCredentials].
//
// # First steps
//
//	client, err := tunnel.NewClient(tunnel.ClientConfig{
//		Endpoint: "https://INSTANCE.REGION.ots.aliyuncs.com", Instance: "INSTANCE",
//	})
//	processor, err := tunnel.NewProcessor(client, tunnel.ProcessorConfig{Table: "orders", Tunnel: "feed"},
//		func(ctx context.Context, ch *tunnel.Channel, records []tunnel.DecodedRecord) error {
//			for _, r := range records {
//				id, _ := r.KeyColumn("id")
//				fmt.Println(r.Action, id)
//			}
//			return nil // or an error, to get the same records again
//		})
//	err = processor.Run(ctx) // until ctx ends
//
// The tunnel must be there: [Client.CreateTunnel] makes one. Package
// emulator/emulatortest is a Tablestore for tests, without an account; a small
// HeartbeatGap makes a processor quick there. Package plainbuffer has the
// types of values.
//
// # What a processor promises
//
// No checkpoint passes a record for which the callback has not returned nil,
// so that whoever takes a channel over, here or elsewhere, begins before it.
// After a clean stop nothing comes twice; after a crash, when a channel is
// taken over, or when the last commit fails, what was settled since the last
// checkpoint does, in the same order again. The records of a channel come in
// its log's order, so that no change of a key overtakes another; a channel's
// children come after it.
//
// A callback that fails is called again in its place, and so is a read that
// fails: neither ever closes a channel. The others go on meanwhile.
//
// A table's stream forgets a change after a while, delivered or not. A
// processor that knows the names of its table and tunnel asks how much time
// is left, warns in the log, and tells it in [Stats]: see [ExpiryConfig].
//
// # Settings of the official Go worker
//
// Of github.com/aliyun/aliyun-tablestore-go-sdk v1.7.17, package tunnel. What
// stands under "here" without a type is a field of [ProcessorConfig].
//
//	official                    default          here                           default
//
//	TunnelWorkerConfig
//	HeartbeatTimeout            300 s            HeartbeatTimeout               300 s
//	HeartbeatInterval           30 s             HeartbeatInterval              30 s; early ones besides, 5 s apart: HeartbeatGap
//	ChannelDialer               its own          Consumer, for NewWorker        a Processor is one
//	ProcessorFactory            required         Process, for NewProcessor      required
//	LogConfig                   Info, JSON       Logger                         slog.Default()
//	LogWriteSyncer              a file           Logger                         slog.Default()
//	BackoffConfig               see below        Idle                           see below; any record ends it, there a full read
//	MaxChannelParallel          0: unlimited     ChannelsAtOnce                 0: unlimited
//	NeedManualRelease           false            none                           a turn ends with its page, and while a callback that failed waits
//	SyncReadRecords             false            ReadAhead: -1                  2
//
//	ChannelDialer
//	ChannelDial                                  Consumer.Consume               called once for each channel that opens
//
//	ChannelBackoffConfig
//	MaxDelay                    5 s              Idle.Max                       2 s
//	baseDelay                   20 ms            Idle.First                     20 ms
//	factor                      5                Idle.Factor                    5
//	jitter                      0.25             Idle.Jitter                    0.25
//
//	Simple- and AsyncProcessFactory
//	CustomValue                 nil              none                           a Process is a closure
//	CpInterval                  10 s             CheckpointInterval             5 s
//	ProcessFunc                 required         Process, for NewProcessor      required
//	                                             Retry                          200 ms, ×2, up to 1 min; there a failure closes the channel
//	ChannelOpenFunc             nil              OnOpen                         nil
//	ShutdownFunc                nil              OnEnd, which is told why       nil
//	Logger                      a file           Logger                         slog.Default()
//	NeedBinaryRecord            false            none                           DecodedRecord.Record has the bytes as well
//	SyncCloseResource           false            none                           Processor.Run always waits for all that it began
//	AlwaysCallBack              false            none                           a page without records moves the checkpoint without a call
//	RecordPipePerChannel        1                ReadAhead                      2
//	                                             ReadAheadBytes                 64 MiB, of all channels together
//	CommitToken                                  Channel.Commit                 of a Consumer that decides itself when to commit
//
//	TunnelConfig
//	MaxRetryElapsedTime         75 s             RetryConfig.Data               75 s
//	                            35 s             RetryConfig.Other              35 s; calls that carry no records
//	RequestTimeout              60 s             ClientConfig.RequestTimeout    60 s
//	Transport                   the standard     ClientConfig.HTTPClient        its own: connections for a thousand channels
//
//	beside them
//	DaemonRandomRetryMs         10 s             ReconnectMax                   10 s
//	the client's tag            host name        ClientTag                      host name
//	SetCredentialsProvider      none             ClientConfig.Credentials       EnvironmentCredentials
//	a security token            none             StaticCredentials              or RefreshingCredentials where it expires
//	external headers            none             none
//
// # Settings of the official Java worker
//
// Of aliyun-tablestore-java-sdk 5.17.7, TunnelWorkerConfig.
//
//	official                    default          here                           default
//
//	heartbeatTimeoutInSec       300 s            HeartbeatTimeout               300 s
//	heartbeatIntervalInSec      30 s, least 5 s  HeartbeatInterval              30 s, least 5 s
//	checkpointIntervalInMillis  5 s              CheckpointInterval             5 s
//	clientTag                   os.name          ClientTag                      host name
//	channelProcessor            required         Process                        required
//	                                             OnEnd, for its shutdown        nil
//	readRecordsExecutor         32 to 1000       none                           a goroutine for each channel
//	processRecordsExecutor      32 to 1000       none                           a goroutine for each channel
//	channelHelperExecutor       cached           none                           a goroutine for each channel
//	maxChannelParallel          -1: unlimited    ChannelsAtOnce                 0: unlimited
//	maxRetryIntervalInMillis    2 s, least 0.2   Idle.Max                       2 s; from 20 ms, there from 10 ms, ×5
//	readMaxTimesPerRound        1                none                           a callback gets one page; ReadAhead reads on meanwhile
//	readMaxBytesPerRound        4 MiB            ReadAheadBytes                 64 MiB, of all channels together
//	enableClosingChannelDetect  true             DrainLimit                     30 s; a channel asked back drains at once
//
// # Settings of the Elixir worker
//
// Of ex_aliyun_ots, ExAliyunOts.Tunnel.Worker.
//
//	there                       default          here                           default
//
//	tunnel_id                   required         TunnelID, or Table and Tunnel  required
//	client_tag                  none             ClientTag                      host name
//	connect_timeout             300 s            HeartbeatTimeout               300 s; what the service is told when connecting
//	heartbeat_interval          30 s, least 5 s  HeartbeatInterval              30 s, least 5 s
//	heartbeat_timeout           300 s            HeartbeatTimeout               300 s
//	a commit                    each read        CheckpointInterval             5 s
//	an idle read                up to 5 s        Idle                           20 ms, ×5, up to 2 s; there from 10 ms
package tunnel
