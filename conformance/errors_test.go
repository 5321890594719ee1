package conformance

import (
	"errors"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel"

	"github.com/culvertio/culvert/tunnel/emulator"
)

func TestTheTableClientIsToldWhatIsWrongWithItsCredentials(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	for _, tt := range []struct {
		name, instance, id, secret, says string
	}{
		{"secret", instance, keyID, "another", "Signature mismatch"},
		{"key id", instance, "nobody", secret, "The AccessKeyID does not exist: nobody"},
		{"instance", "elsewhere", keyID, secret, "The instance is not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tablestore.NewClient(endpoint, tt.instance, tt.id, tt.secret).ListTable()
			ots := wantCode(t, err, "OTSAuthFailed")
			if !strings.Contains(ots.Message, tt.says) || ots.HttpStatusCode != 403 {
				t.Errorf("%d %q, want 403 and %q", ots.HttpStatusCode, ots.Message, tt.says)
			}
			if strings.Contains(ots.Message, secret) || strings.Contains(ots.Message, "another") {
				t.Errorf("%q tells a secret", ots.Message)
			}
			_, err = tunnel.NewTunnelClient(endpoint, tt.instance, tt.id, tt.secret).ListTunnel(&tunnel.ListTunnelRequest{TableName: "x"})
			if te, ok := errors.AsType[*tunnel.TunnelError](err); !ok || te.Code != "OTSAuthFailed" || !strings.Contains(te.Message, tt.says) {
				t.Errorf("the tunnel client was told %v", err)
			}
		})
	}
}

func TestTheTableClientIsToldWhatIsWrongWithItsTable(t *testing.T) {
	c := tableClient(serve(t, emulator.Config{}))
	createTable(t, c, "here", 1, column("k", tablestore.PrimaryKeyType_STRING))
	row := func(table string, k *tablestore.PrimaryKey, change func(*tablestore.PutRowChange)) error {
		p := &tablestore.PutRowChange{TableName: table, PrimaryKey: k}
		p.AddColumn("v", int64(1))
		p.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
		if change != nil {
			change(p)
		}
		_, err := c.PutRow(&tablestore.PutRowRequest{PutRowChange: p})
		return err
	}
	wantCode(t, row("missing", key("k", "a"), nil), "OTSObjectNotExist")
	wantCode(t, row("here", key("k", int64(1)), nil), "OTSInvalidPK")
	wantCode(t, row("here", key("other", "a"), nil), "OTSInvalidPK")
	wantCode(t, row("here", key("k", "a", "l", "b"), nil), "OTSInvalidPK")
	wantCode(t, row("here", key("k", strings.Repeat("x", 1025)), nil), "OTSParameterInvalid")
	wantCode(t, row("here", key("k", "a"), func(p *tablestore.PutRowChange) {
		p.SetCondition(tablestore.RowExistenceExpectation_EXPECT_EXIST)
	}), "OTSConditionCheckFail")
	_, err := c.CreateTable(&tablestore.CreateTableRequest{
		TableMeta:          &tablestore.TableMeta{TableName: "here", SchemaEntry: []*tablestore.PrimaryKeySchema{column("k", tablestore.PrimaryKeyType_STRING)}},
		TableOption:        tablestore.NewTableOption(-1, 1),
		ReservedThroughput: &tablestore.ReservedThroughput{},
	})
	wantCode(t, err, "OTSObjectAlreadyExist")
	_, err = c.DeleteTable(&tablestore.DeleteTableRequest{TableName: "missing"})
	wantCode(t, err, "OTSObjectNotExist")
}

func TestTheTunnelClientIsToldWhatIsWrong(t *testing.T) {
	endpoint := serve(t, emulator.Config{})
	tables, tunnels := tableClient(endpoint), tunnelClient(endpoint)
	createTable(t, tables, "feed", 1, column("k", tablestore.PrimaryKeyType_STRING))
	create := func(q *tunnel.CreateTunnelRequest) error {
		_, err := tunnels.CreateTunnel(q)
		return err
	}
	wantTunnelCode := func(err error, code string) {
		t.Helper()
		te, ok := errors.AsType[*tunnel.TunnelError](err)
		if !ok || te.Code != code || te.RequestId == "" {
			t.Errorf("error %v, want %s", err, code)
		}
	}
	wantTunnelCode(create(&tunnel.CreateTunnelRequest{TableName: "missing", TunnelName: "n", Type: tunnel.TunnelTypeStream}), "OTSParameterInvalid")
	if err := create(&tunnel.CreateTunnelRequest{TableName: "feed", TunnelName: "n", Type: tunnel.TunnelTypeStream}); err != nil {
		t.Fatal(err)
	}
	wantTunnelCode(create(&tunnel.CreateTunnelRequest{TableName: "feed", TunnelName: "n", Type: tunnel.TunnelTypeStream}), "OTSTunnelExist")
	wantTunnelCode(create(&tunnel.CreateTunnelRequest{TableName: "feed", TunnelName: "m", Type: tunnel.TunnelTypeStream,
		StreamTunnelConfig: &tunnel.StreamTunnelConfig{StartOffset: 1}}), "OTSParameterInvalid")
	_, err := tunnels.DescribeTunnel(&tunnel.DescribeTunnelRequest{TableName: "feed", TunnelName: "other"})
	wantTunnelCode(err, "OTSParameterInvalid")
	list, err := tunnels.ListTunnel(&tunnel.ListTunnelRequest{TableName: "feed"})
	if err != nil || len(list.Tunnels) != 1 || list.Tunnels[0].TunnelName != "n" {
		t.Errorf("list %v, %v", list, err)
	}
	_, err = tunnels.Schedule(&tunnel.ScheduleRequest{TunnelId: list.Tunnels[0].TunnelId, Channels: []*tunnel.ScheduleChannel{tunnel.SuspendChannel("other")}})
	wantTunnelCode(err, "OTSParameterInvalid")
	if _, err := tunnels.DeleteTunnel(&tunnel.DeleteTunnelRequest{TableName: "feed", TunnelName: "n"}); err != nil {
		t.Error(err)
	}
	_, err = tunnels.DeleteTunnel(&tunnel.DeleteTunnelRequest{TableName: "feed", TunnelName: "n"})
	wantTunnelCode(err, "OTSParameterInvalid")

	// A daemon of a tunnel that is not there ends for good.
	d := tunnel.NewTunnelDaemon(tunnels, "no-such-tunnel", workerConfig(t, newSink()))
	defer d.Close()
	wantTunnelCode(d.Run(), "OTSParameterInvalid")
}
