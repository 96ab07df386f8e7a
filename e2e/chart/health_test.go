package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const healthFolder = "../../docs/argo-cd/"

var scripts = []struct{ kind, file string }{
	{"AccessScope", "conditions.lua"},
	{"BookingRecord", "conditions.lua"},
	{"CalendarSubscription", "conditions.lua"},
	{"ConsentRecord", "consent-record.lua"},
}

// The interpreter is the one of Argo CD, with the libraries that Argo CD opens.
func health(t *testing.T, script string, object map[string]any) (status, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("answered %v", state.Get(-1))
	}
	return answer.RawGetString("status").String(), answer.RawGetString("message").String()
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, inner := range from {
			table.RawSetString(key, value(state, inner))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, inner := range from {
			table.Append(value(state, inner))
		}
		return table
	case string:
		return lua.LString(from)
	case float64:
		return lua.LNumber(from)
	case bool:
		return lua.LBool(from)
	default:
		return lua.LNil
	}
}

type state struct {
	Kind, Health, Message, Kstatus string
	Object                         map[string]any
}

func states(t *testing.T) []state {
	t.Helper()
	text, err := os.ReadFile("health.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []state
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHealth(t *testing.T) {
	seen := map[string]bool{}
	for number, one := range states(t) {
		for _, script := range scripts {
			if script.kind != one.Kind {
				continue
			}
			seen[one.Kind] = true
			code, err := os.ReadFile(healthFolder + script.file)
			if err != nil {
				t.Fatal(err)
			}
			status, message := health(t, string(code), one.Object)
			if status != one.Health || (one.Message != "" && message != one.Message) {
				t.Errorf("%d: %s: %s (%s), not %s (%s)", number, one.Kind, status, message, one.Health, one.Message)
			}
		}
	}
	if len(seen) != len(scripts) {
		t.Errorf("not every kind is tried: %v", seen)
	}
}

// What Flux, and whoever else uses kstatus, waits for.
func TestKstatus(t *testing.T) {
	seen := map[string]bool{}
	for number, one := range states(t) {
		whole := map[string]any{"apiVersion": "roomkeeper.dev/v1alpha1", "kind": one.Kind}
		for key, part := range one.Object {
			whole[key] = part
		}
		text, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		var decoded unstructured.Unstructured
		if err := decoded.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		result, err := kstatus.Compute(&decoded)
		if err != nil {
			t.Fatal(err)
		}
		seen[one.Kstatus] = true
		if result.Status.String() != one.Kstatus {
			t.Errorf("%d: %s: %s (%s), not %s", number, one.Kind, result.Status, result.Message, one.Kstatus)
		}
	}
	for _, status := range []kstatus.Status{kstatus.InProgressStatus, kstatus.FailedStatus, kstatus.CurrentStatus, kstatus.TerminatingStatus} {
		if !seen[status.String()] {
			t.Errorf("no state is %s", status)
		}
	}
}

func TestConfigMapHoldsTheScripts(t *testing.T) {
	var out strings.Builder
	out.WriteString("data:\n")
	for _, script := range scripts {
		code, err := os.ReadFile(healthFolder + script.file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "  resource.customizations.health.roomkeeper.dev_%s: |\n", script.kind)
		for line := range strings.Lines(string(code)) {
			out.WriteString("    " + line)
		}
	}
	golden(t, healthFolder+"argocd-cm.yaml", out.String())
}
