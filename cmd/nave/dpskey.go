package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/cred"
)

func dpsKey(e *env) *cobra.Command {
	of := ""
	c := &cobra.Command{Use: "key [GROUP-KEY] REGISTRATION-ID", Short: "Derive a device's key from the key of its group", Args: cobra.RangeArgs(1, 2),
		Long: `Key prints the symmetric key of a group's member: HMAC-SHA256 of the registration id,
spelled as the device sends it, under the group's key. With the group's key it needs no
service; --group asks the service for it. GROUP-KEY may be - for the standard input.`,
		Example:           "  nave dps key --group fleet pump-17\n  nave dps key 'Zm9v…==' pump-17",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (of == "") != (len(args) == 2) {
				return misuse("Give the group's key before the registration id, or --group NAME.", "the key of the group is needed once")
			}
			master, id := args[0], args[len(args)-1]
			switch {
			case of != "":
				c, err := e.dps(cmd.Context())
				if err != nil {
					return err
				}
				if master, err = c.key(cmd.Context(), groups, of); err != nil {
					return err
				}
			case master == "-":
				text, err := e.text("GROUP-KEY", "-")
				if err != nil {
					return err
				}
				master = strings.TrimSpace(string(text))
			}
			key, err := cred.Derive(master, id)
			if err != nil {
				return misuse("'nave dps group keys NAME' prints it.", "the group's key is unusable: %v", err)
			}
			if e.json() {
				return e.printJSON(map[string]string{"registrationId": id, "symmetricKey": key})
			}
			e.print("%s", key)
			return nil
		}}
	c.Flags().StringVar(&of, "group", "", "ask the service for the key of this group")
	c.RegisterFlagCompletionFunc("group", e.completeEnrolment(groups))
	return c
}

// parseServiceString reads a service connection string.
func parseServiceString(text string) (*cred.ConnectionString, error) {
	return cred.ParseConnectionString(text)
}

// hasSign says whether a text is meant as a connection string.
func hasSign(text string) bool { return strings.Contains(text, "=") }
